#include "search/network_drawing.h"

#include <algorithm>

#include "search/run/text.h"

namespace stagewise {

namespace {

constexpr std::int64_t kLongestBar = 40;

std::string repeated(const char* symbol, std::int64_t times) {
  std::string text;
  for (std::int64_t i = 0; i < times; ++i) text += symbol;
  return text;
}

std::string convolution_text(const Convolution& convolution) {
  const Shape& filter = convolution.filter;
  return concat(filter[1], "x", filter[2], " conv ", filter[3], " to ", filter[0],
                convolution.options.stride > 1 ? concat(", stride ", convolution.options.stride) : "",
                convolution.bias ? ", bias" : "", convolution.batch_norm.empty() ? "" : ", batch norm");
}

std::string block_text(const ResidualBlockNode& block) {
  std::string text = block.pre_activation ? "(batch norm, relu; " : "(";
  for (const Convolution* const one : block.branch()) {
    text += (one == &block.conv1 ? "" : ", relu; ") + convolution_text(*one);
  }
  text += ") + ";
  if (block.projection) {
    // Of pre-activation it reads what the first convolution reads.
    text += concat("(", convolution_text(*block.projection), block.pre_activation ? " of the first relu)" : ")");
  } else if (block.padding) {
    text += concat("(every ", block.padding->stride, ". pixel of x, padded to ", block.branch().back()->filter[0],
                   " channels)");
  } else {
    text += "x";
  }
  return text + (block.pre_activation ? "" : ", relu");
}

}  // namespace

std::string node_text(const Node& node) {
  const ByKind by_kind{
      [](const StemNode& stem) {
        return convolution_text(stem.convolution) + (stem.convolution.batch_norm.empty() ? "" : ", relu");
      },
      [](const MaxPoolNode& pool) {
        return concat("maximum of ", pool.window, "x", pool.window, ", stride ", pool.options.stride);
      },
      [](const ResidualBlockNode& block) { return block_text(block); },
      [](const BatchNormNode&) { return std::string("batch norm, relu"); },
      [](const GlobalAveragePoolNode&) { return std::string("mean over all pixels"); },
      [](const LinearNode& linear) { return concat("linear ", linear.inputs, " to ", linear.outputs); },
  };
  return std::visit(by_kind, node.kind);
}

std::string draw_network(const Architecture& architecture, const std::vector<std::string>& notes,
                         const std::vector<std::int64_t>& grown) {
  const std::vector<std::int64_t> depths = architecture.depths();
  const std::int64_t deepest = *std::max_element(depths.begin(), depths.end());
  const std::int64_t blocks_a_column = (deepest + kLongestBar - 1) / kLongestBar;
  const auto columns = static_cast<int>((deepest + blocks_a_column - 1) / blocks_a_column);
  std::string text;
  for (std::size_t stage = 0; stage < depths.size(); ++stage) {
    const std::int64_t fresh = stage < grown.size() ? grown[stage] / blocks_a_column : 0;
    const std::int64_t bar = (depths[stage] + blocks_a_column - 1) / blocks_a_column;
    const std::string place = "stage " + std::to_string(stage + 1) + "  " + map_size(architecture, stage) + "x" +
                              std::to_string(architecture.stage_channels(stage));
    text += (stage > 0 ? "\n  " : "  ") + left(place, 20) + "  " +
            left(repeated("█", bar - fresh) + repeated("▓", fresh), columns) + "  " +
            right(std::to_string(depths[stage]), 3) + (depths[stage] == 1 ? " block" : " blocks");
    if (stage < notes.size()) text += (depths[stage] == 1 ? "   " : "  ") + notes[stage];
  }
  return text;
}

std::string map_size(const Architecture& architecture, std::size_t stage) {
  const Shape maps = graph_of(architecture).stage_output(stage);
  return std::to_string(maps[1]) + "x" + std::to_string(maps[2]);
}

std::vector<std::string> score_notes(const std::vector<double>& scores) {
  std::vector<std::string> notes;
  notes.reserve(scores.size());
  for (const double score : scores) notes.push_back("score " + fixed(score, 4));
  return notes;
}

}  // namespace stagewise
