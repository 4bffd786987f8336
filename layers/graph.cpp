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

/// Filters and strides of a block's convolutions, one behind the other.
struct BranchPart {
  std::int64_t width, filter, stride;
};

std::vector<BranchPart> branch_of(const Architecture& architecture, std::size_t stage, std::int64_t stride) {
  const std::int64_t width = architecture.stages[stage].width;
  if (!is_bottleneck(architecture.block)) return {{width, 3, stride}, {width, 3, 1}};
  return {{width, 1, 1}, {width, 3, stride}, {architecture.stage_channels(stage), 1, 1}};
}

Node residual_block(std::size_t stage, std::int64_t number, bool first, const Shape& input,
                    const Architecture& architecture) {
  const std::string name = block_name(stage, number);
  const std::int64_t channels = architecture.stage_channels(stage), stride = first && stage > 0 ? 2 : 1;
  const Variant variant = architecture.variant;
  const bool pre_activation = is_pre_activation(architecture.block);
  ResidualBlockNode block{.stage = static_cast<std::int64_t>(stage), .number = number, .conv1 = {}, .conv2 = {}};
  // Batch norms are numbered as they run: that of pre-activation is the first.
  int norms = 0;
  const auto next_norm = [&] { return name + ".batch_norm" + std::to_string(++norms); };
  if (pre_activation) block.pre_activation = BatchNorm{.name = next_norm(), .channels = input[3]};
  const std::vector<BranchPart> parts = branch_of(architecture, stage, stride);
  Shape maps = input;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Convolution made = convolution(name + ".conv" + std::to_string(i + 1), maps, parts[i].width, parts[i].filter,
                                   parts[i].stride, variant);
    if (!pre_activation || i + 1 < parts.size()) made.batch_norm = next_norm();
    maps = made.output;
    if (i == 0) block.conv1 = std::move(made);
    if (i == 1) block.conv2 = std::move(made);
    if (i == 2) block.conv3 = std::move(made);
  }
  const bool changes = stride != 1 || input[3] != channels;
  if (changes && architecture.shortcut == Shortcut::padding) {
    block.padding = ShortcutPadding{.stride = stride, .zeros_before = (channels - input[3]) / 2};
  } else if (changes) {
    block.projection = convolution(name + ".projection", input, channels, 1, stride, variant);
    if (variant == Variant::standard && !pre_activation) {
      block.projection->batch_norm = name + ".projection_batch_norm";
    }
  }
  return {name, std::move(block), maps};
}

/// The stem's nodes, of which the last gives `maps`.
void add_stem(const Architecture& architecture, Graph& graph, Shape& maps) {
  const bool large = architecture.stem == StemKind::imagenet;
  StemNode stem{convolution("stem.conv", graph.input, architecture.stem_channels(), large ? 7 : 3, large ? 2 : 1,
                            architecture.variant)};
  if (!is_pre_activation(architecture.block)) stem.convolution.batch_norm = "stem.batch_norm";
  maps = stem.convolution.output;
  graph.nodes.push_back({"stem", std::move(stem), maps});
  if (!large) return;
  const MaxPoolNode pool{.window = 3, .options = {.stride = 2, .padding_before = 1, .padding_after = 1}};
  maps = {1, pool.options.output_size(maps[1], 3), pool.options.output_size(maps[2], 3), maps[3]};
  graph.nodes.push_back({"stem.pool", pool, maps});
}

}  // namespace

std::string block_name(std::size_t stage, std::int64_t number) {
  return "stages." + std::to_string(stage) + ".blocks." + std::to_string(number);
}

Graph graph_of(const Architecture& architecture) {
  Graph graph;
  graph.input = {1, architecture.height, architecture.width, architecture.channels};
  Shape maps;
  add_stem(architecture, graph, maps);
  for (std::size_t stage = 0; stage < architecture.stages.size(); ++stage) {
    bool first = true;
    for (const std::int64_t number : architecture.stages[stage].blocks) {
      graph.nodes.push_back(residual_block(stage, number, first, maps, architecture));
      maps = graph.nodes.back().output;
      first = false;
    }
    graph.stage_ends.push_back(graph.nodes.size() - 1);
  }
  if (is_pre_activation(architecture.block)) {
    graph.nodes.push_back({"final", BatchNormNode{{.name = "final.batch_norm", .channels = maps[3]}}, maps});
  }
  graph.nodes.push_back({"pool", GlobalAveragePoolNode{}, {1, maps[3]}});
  graph.nodes.push_back({"classifier", LinearNode{maps[3], architecture.classes}, {1, architecture.classes}});
  return graph;
}

std::vector<const Convolution*> ResidualBlockNode::branch() const {
  if (conv3) return {&conv1, &conv2, &*conv3};
  return {&conv1, &conv2};
}

std::vector<const Convolution*> convolutions_of(const Node& node) {
  if (const auto* const stem = std::get_if<StemNode>(&node.kind)) return {&stem->convolution};
  const auto* const block = std::get_if<ResidualBlockNode>(&node.kind);
  if (block == nullptr) return {};
  std::vector<const Convolution*> all = block->branch();
  if (block->projection) all.push_back(&*block->projection);
  return all;
}

const BatchNorm* batch_norm_of(const Node& node) {
  if (const auto* const end = std::get_if<BatchNormNode>(&node.kind)) return &end->batch_norm;
  const auto* const block = std::get_if<ResidualBlockNode>(&node.kind);
  return block != nullptr && block->pre_activation ? &*block->pre_activation : nullptr;
}

}  // namespace stagewise
