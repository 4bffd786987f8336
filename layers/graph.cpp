#include "layers/graph.h"

namespace stagewise {

namespace {

/// The padding that keeps the size at stride 1 and halves it at stride 2: half the filter on each side; in the paper
/// variant at stride 2, as Keras does for even sizes, one pixel less before.
Conv2dOptions padded(std::int64_t filter, std::int64_t stride, Variant variant) {
  const std::int64_t half = filter / 2;
  const bool uneven = variant == Variant::paper && stride == 2 && half > 0;
  return {stride, uneven ? half - 1 : half, half};
}

Convolution convolution(const std::string& name, const Shape& input, std::int64_t width, std::int64_t filter,
                        std::int64_t stride, Variant variant) {
  Convolution made{.name = name,
                   .input = input,
                   .filter = {width, filter, filter, input[3]},
                   .output = {},
                   .options = padded(filter, stride, variant),
                   .bias = variant == Variant::paper,
                   .batch_norm = "",
                   .epsilon = variant == Variant::paper ? 1e-3 : 1e-5};
  made.output = convolution_output(made.input, made.filter, made.options);
  return made;
}

Node residual_block(std::size_t stage, std::int64_t number, bool first, const Shape& input,
                    const Architecture& architecture) {
  const std::string name = block_name(stage, number);
  const std::int64_t width = architecture.stages[stage].width, stride = first && stage > 0 ? 2 : 1;
  const Variant variant = architecture.variant;
  ResidualBlockNode block{.stage = static_cast<std::int64_t>(stage), .number = number};
  block.conv1 = convolution(name + ".conv1", input, width, 3, stride, variant);
  block.conv1.batch_norm = name + ".batch_norm1";
  block.conv2 = convolution(name + ".conv2", block.conv1.output, width, 3, 1, variant);
  block.conv2.batch_norm = name + ".batch_norm2";
  if (stride != 1 || input[3] != width) {
    block.projection = convolution(name + ".projection", input, width, 1, stride, variant);
    if (variant == Variant::standard) block.projection->batch_norm = name + ".projection_batch_norm";
  }
  const Shape output = block.conv2.output;
  return {name, std::move(block), output};
}

}  // namespace

std::string block_name(std::size_t stage, std::int64_t number) {
  return "stages." + std::to_string(stage) + ".blocks." + std::to_string(number);
}

Graph graph_of(const Architecture& architecture) {
  Graph graph;
  graph.input = {1, architecture.height, architecture.width, architecture.channels};
  StemNode stem{convolution("stem.conv", graph.input, architecture.stages.front().width, 3, 1, architecture.variant)};
  stem.convolution.batch_norm = "stem.batch_norm";
  Shape maps = stem.convolution.output;
  graph.nodes.push_back({"stem", std::move(stem), maps});
  for (std::size_t stage = 0; stage < architecture.stages.size(); ++stage) {
    bool first = true;
    for (const std::int64_t number : architecture.stages[stage].blocks) {
      graph.nodes.push_back(residual_block(stage, number, first, maps, architecture));
      maps = graph.nodes.back().output;
      first = false;
    }
    graph.stage_ends.push_back(graph.nodes.size() - 1);
  }
  graph.nodes.push_back({"pool", GlobalAveragePoolNode{}, {1, maps[3]}});
  graph.nodes.push_back({"classifier", LinearNode{maps[3], architecture.classes}, {1, architecture.classes}});
  return graph;
}

std::vector<const Convolution*> convolutions_of(const Node& node) {
  if (const auto* const stem = std::get_if<StemNode>(&node.kind)) return {&stem->convolution};
  const auto* const block = std::get_if<ResidualBlockNode>(&node.kind);
  if (block == nullptr) return {};
  if (block->projection) return {&block->conv1, &block->conv2, &*block->projection};
  return {&block->conv1, &block->conv2};
}

}  // namespace stagewise
