// What a network is, derived from its architecture: names, shapes and costs, held against formulas that know nothing of
// nodes.
#include "layers/graph.h"

#include <gtest/gtest.h>

#include "layers/cost.h"
#include "layers/presets.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace stagewise {
namespace {

/// A function that gives whole numbers from 0 to below a bound, each call the next one.
auto numbers(std::uint64_t seed, std::uint64_t stream) {
  return [random = Random(seed, stream), draw = std::uint64_t{0}](std::int64_t bound) mutable {
    return static_cast<std::int64_t>(random.below(draw++, static_cast<std::uint32_t>(bound)));
  };
}

/// Any architecture that is allowed, drawn from `number`.
Architecture random_architecture(std::uint64_t number) {
  auto below = numbers(number, 1);
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

/// Any kind of block, stem and shortcut, drawn likewise.
Architecture random_style(std::uint64_t number) {
  auto below = numbers(number, 2);
  Architecture architecture;
  architecture.block = static_cast<BlockKind>(below(4));
  architecture.stem = static_cast<StemKind>(below(2));
  architecture.shortcut = static_cast<Shortcut>(below(2));
  const std::int64_t stages = 1 + below(4);
  architecture.height = 32 + below(40);
  architecture.width = 32 + below(40);
  std::int64_t width = 1 + below(20);
  const std::int64_t stem_width = below(2) == 0 ? 1 + below(width) : 0;
  for (std::int64_t stage = 0; stage < stages; ++stage, width += below(20)) {
    architecture.stages.push_back({.width = width, .blocks = {0, 2 + below(3), 1}});
  }
  architecture.set_stem_width(stem_width);
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

/// Published counts, and those that follow from the papers' tables of layers: torchvision's parameters where it lists them.
TEST(Graph, CostsWhatTheFieldsNetworksCost) {
  struct Golden {
    const char* name;
    std::int64_t trainable, macs;
    Shortcut shortcut = Shortcut::projection;
  };
  const Golden all[] = {
      {"resnet18", 11'689'512, 1'814'073'344},
      {"resnet34", 21'797'672, 3'663'761'408},
      {"resnet50", 25'557'032, 4'089'184'256},
      {"resnet101", 44'549'160, 7'801'405'440},
      {"resnet44", 661'338, 97'436'288},
      {"resnet56", 855'770, 125'747'840},
      {"resnet110", 1'730'714, 253'149'824},
      {"resnet44", 658'586, 97'174'144, Shortcut::padding},
      {"resnet56", 853'018, 125'485'696, Shortcut::padding},
      {"resnet110", 1'727'962, 252'887'680, Shortcut::padding},
      {"preresnet110", 1'730'522, 253'149'824},
      {"preresnet164", 1'703'258, 247'646'720},
      {"wrn-28-10", 36'479'194, 5'243'328'768},
  };
  for (const Golden& golden : all) {
    Architecture architecture = preset(golden.name);
    architecture.shortcut = golden.shortcut;
    const Cost cost = cost_of(architecture).total();
    EXPECT_EQ(cost.trainable, golden.trainable) << golden.name << ", " << name_of(golden.shortcut);
    EXPECT_EQ(cost.macs, golden.macs) << golden.name << ", " << name_of(golden.shortcut);
  }
}

TEST(Graph, OfEveryKindIsAChainWhoseShapesFit) {
  for (std::uint64_t number = 0; number < 200; ++number) {
    const Architecture architecture = random_style(number);
    const Graph graph = graph_of(architecture);
    Shape maps = graph.input;
    for (const Node& node : graph.nodes) {
      const BatchNorm* const norm = batch_norm_of(node);
      ASSERT_TRUE(norm == nullptr || norm->channels == maps[3]);
      if (const auto* const block = std::get_if<ResidualBlockNode>(&node.kind)) {
        Shape inner = maps;
        for (const Convolution* const one : block->branch()) {
          ASSERT_EQ(one->input, inner);
          inner = one->output;
        }
        ASSERT_EQ(inner, node.output);
        ASSERT_FALSE(block->projection && block->padding);
        ASSERT_TRUE(!block->projection || block->projection->output == node.output);
        ASSERT_TRUE(block->projection || block->padding || maps == node.output);
        ASSERT_TRUE(!block->padding || block->padding->zeros_before + maps[3] <= node.output[3]);
        ASSERT_EQ(block->pre_activation.has_value(), is_pre_activation(architecture.block));
        ASSERT_EQ(block->branch().back()->batch_norm.empty(), is_pre_activation(architecture.block));
      }
      maps = node.output;
    }
    for (std::size_t stage = 0; stage < architecture.stages.size(); ++stage) {
      EXPECT_EQ(graph.stage_output(stage)[3], architecture.stage_channels(stage));
    }
    EXPECT_EQ(Architecture::from_json(architecture.to_json()), architecture) << architecture.to_json();
  }
}

TEST(Architecture, LeavesOutOfItsFileWhatIsAsItAlwaysWas) {
  const std::string old = R"({"variant":"standard","height":32,"width":32,"channels":3,"classes":10,)"
                          R"("stages":[{"width":16,"blocks":[0],"next":1}]})";
  EXPECT_EQ(Architecture::of_depths({1}).to_json(), old);
  EXPECT_EQ(Architecture::from_json(old), Architecture::of_depths({1}));
  const std::string wide = preset("wrn-16-4").to_json();
  for (const char* part : {R"("block":"pre-activation")", R"("stem_width":16)", R"("width":64,"blocks":[0,1])"}) {
    EXPECT_NE(wide.find(part), std::string::npos) << wide;
  }
}

TEST(Architecture, RefusesWhatIsNoNetwork) {
  const auto message = [](const auto& make) {
    try {
      make();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  const auto with = [&](const std::string& more) {
    return message([&] {
      Architecture::from_json(R"({"variant":"standard","height":32,"width":32,"channels":3,"classes":10,)" + more +
                              R"("stages":[{"width":8,"blocks":[0]},{"width":4,"blocks":[0]}]})");
    });
  };
  EXPECT_EQ(with(""), "nothing");
  EXPECT_NE(with(R"("block":"inverted",)").find("basic, bottleneck, pre-activation or pre-activation-bottleneck"),
            std::string::npos);
  EXPECT_NE(with(R"("stem":7,)").find("expected a name for \"stem\", got 7"), std::string::npos);
  EXPECT_NE(with(R"("shortcut":"padding",)").find("don't lose channels"), std::string::npos);
  EXPECT_NE(with(R"("stem_width":5000,)").find("a width of the stem from 0 to 4096"), std::string::npos);
  const auto styled = [&](Variant variant, const NetworkStyle& style) {
    return message([&] { Architecture::of_depths({1, 1}, variant, style); });
  };
  EXPECT_NE(styled(Variant::paper, {.block = BlockKind::bottleneck}).find("the paper variant has basic blocks"),
            std::string::npos);
  EXPECT_NE(styled(Variant::standard, {.widths = {16}}).find("a width for each of 2 stages, got 1"), std::string::npos);
  EXPECT_NE(message([] { preset("resnet19"); }).find("resnet18"), std::string::npos);
  EXPECT_NE(message([] {
              Architecture small = preset("resnet18");
              small.height = small.width = 31;
              small.check();
            }).find("at least 32x32 for a stem that quarters them"),
            std::string::npos);
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
