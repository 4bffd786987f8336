// What a network is, derived from its architecture: names, shapes and costs, held against formulas that know nothing of
// nodes.
#include "layers/graph.h"

#include <gtest/gtest.h>

#include "layers/cost.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace stagewise {
namespace {

/// Any architecture that is allowed, drawn from `number`.
Architecture random_architecture(std::uint64_t number) {
  const Random random(number, 1);
  std::uint64_t draw = 0;
  const auto below = [&](std::int64_t bound) {
    return static_cast<std::int64_t>(random.below(draw++, static_cast<std::uint32_t>(bound)));
  };
  Architecture architecture;
  architecture.variant = below(2) == 0 ? Variant::standard : Variant::paper;
  architecture.classes = 1 + below(200);
  architecture.channels = 1 + below(4);
  const std::int64_t stages = 1 + below(4), shrink = std::int64_t{1} << (stages - 1);
  const bool paper = architecture.variant == Variant::paper;
  architecture.height = paper ? shrink * (1 + below(8)) : shrink + below(40);
  architecture.width = paper ? shrink * (1 + below(8)) : shrink + below(40);
  for (std::int64_t stage = 0; stage < stages; ++stage) {
    Architecture::StageBlocks blocks;
    blocks.width = 1 + below(80);
    for (std::int64_t block = below(6); block >= 0; --block) blocks.blocks.push_back(3 * block + below(3));
    architecture.stages.push_back(blocks);
  }
  architecture.check();
  return architecture;
}

/// He et al. 2016, section 4.2, as sums: 9 c c' h w for each 3x3 convolution, c c' h w for each projection.
Cost closed_form(const Architecture& architecture) {
  const std::int64_t per_channel = architecture.variant == Variant::paper ? 3 : 2;  // bias, weight, bias
  const std::int64_t on_projection = architecture.variant == Variant::paper ? 1 : 2;
  std::int64_t height = architecture.height, width = architecture.width, in = architecture.stages[0].width;
  Cost cost{.trainable = 9 * architecture.channels * in + per_channel * in,
            .running_statistics = 2 * in,
            .macs = 9 * architecture.channels * in * height * width};
  for (std::size_t stage = 0; stage < architecture.stages.size(); ++stage) {
    const std::int64_t out = architecture.stages[stage].width, depth = architecture.depths()[stage];
    if (stage > 0) height = (height + 1) / 2, width = (width + 1) / 2;
    const std::int64_t filters = 9 * (in * out + (2 * depth - 1) * out * out);
    cost.trainable += filters + 2 * depth * per_channel * out;
    cost.running_statistics += 4 * depth * out;
    cost.macs += filters * height * width;
    if (stage > 0 || in != out) {
      cost.trainable += in * out + on_projection * out;
      cost.running_statistics += architecture.variant == Variant::paper ? 0 : 2 * out;
      cost.macs += in * out * height * width;
    }
    in = out;
  }
  cost.trainable += (in + 1) * architecture.classes;
  cost.macs += in * architecture.classes;
  return cost;
}

TEST(Graph, CostsWhatTheFormulaSays) {
  for (std::uint64_t number = 0; number < 200; ++number) {
    const Architecture architecture = random_architecture(number);
    const Cost cost = cost_of(architecture).total(), expected = closed_form(architecture);
    ASSERT_EQ(cost.trainable, expected.trainable) << architecture.to_json();
    ASSERT_EQ(cost.running_statistics, expected.running_statistics) << architecture.to_json();
    ASSERT_EQ(cost.macs, expected.macs) << architecture.to_json();
  }
}

TEST(Graph, IsAChainWhoseShapesFit) {
  for (std::uint64_t number = 0; number < 200; ++number) {
    const Architecture architecture = random_architecture(number);
    const Graph graph = graph_of(architecture);
    Shape maps = graph.input;
    for (const Node& node : graph.nodes) {
      for (const Convolution* const convolution : convolutions_of(node)) {
        ASSERT_EQ(convolution->filter[3], convolution->input[3]);
        ASSERT_EQ(convolution->output,
                  convolution_output(convolution->input, convolution->filter, convolution->options));
        ASSERT_TRUE(convolution->name.starts_with(node.name + ".")) << convolution->name;
      }
      if (const auto* const block = std::get_if<ResidualBlockNode>(&node.kind)) {
        ASSERT_EQ(block->conv1.input, maps);
        ASSERT_EQ(block->conv2.input, block->conv1.output);
        ASSERT_EQ(block->conv2.output, block->projection ? block->projection->output : maps) << architecture.to_json();
        ASSERT_EQ(node.name, block_name(static_cast<std::size_t>(block->stage), block->number));
      }
      maps = node.output;
    }
    EXPECT_EQ(maps, (Shape{1, architecture.classes}));
    ASSERT_EQ(graph.stage_ends.size(), architecture.stages.size());
    for (std::size_t stage = 0; stage < architecture.stages.size(); ++stage) {
      const Node& last = graph.nodes[graph.stage_ends[stage]];
      EXPECT_EQ(last.name, block_name(stage, architecture.stages[stage].blocks.back()));
      EXPECT_EQ(graph.stage_output(stage)[3], architecture.stages[stage].width);
    }
  }
}

TEST(Graph, NamesAStemBlocksAPoolAndAClassifier) {
  Architecture architecture = Architecture::of_depths({2, 1});
  EXPECT_EQ(architecture.insert(0, 1), 2);
  std::vector<std::string> names;
  for (const Node& node : graph_of(architecture).nodes) names.push_back(node.name);
  EXPECT_EQ(names, (std::vector<std::string>{"stem", "stages.0.blocks.0", "stages.0.blocks.2", "stages.0.blocks.1",
                                             "stages.1.blocks.0", "pool", "classifier"}));
}

/// A stride alone asks for a projection, also where the shapes would fit: a map of one pixel.
TEST(Graph, AStridedBlockHasAProjectionWhateverTheShapes) {
  Architecture architecture = Architecture::of_depths({1, 1, 1});
  for (auto& stage : architecture.stages) stage.width = 4;
  architecture.height = architecture.width = 4;
  const Graph graph = graph_of(architecture);
  EXPECT_FALSE(std::get<ResidualBlockNode>(graph.nodes[1].kind).projection);
  EXPECT_TRUE(std::get<ResidualBlockNode>(graph.nodes[2].kind).projection);
  EXPECT_TRUE(std::get<ResidualBlockNode>(graph.nodes[3].kind).projection);
}

TEST(ArchitectureEdits, InsertAndRemoveNumberAsTheirHeaderSays) {
  Architecture architecture = Architecture::of_depths({2});
  EXPECT_EQ(architecture.insert(0, 2), 2);
  architecture.remove(0, 2);
  EXPECT_EQ(architecture.insert(0, 1), 3) << "a number is never used again";
  EXPECT_EQ(architecture.stages[0].blocks, (std::vector<std::int64_t>{0, 3, 1}));
  EXPECT_THROW(architecture.remove(0, 0), Error) << "the first block stays";
  EXPECT_THROW(architecture.remove(0, 2), Error);
  EXPECT_THROW(architecture.remove(1, 1), Error);
  EXPECT_THROW(architecture.insert(0, 0), Error);
  EXPECT_THROW(architecture.insert(0, 4), Error);
  EXPECT_THROW(architecture.insert(7, 1), Error);
}

}  // namespace
}  // namespace stagewise
