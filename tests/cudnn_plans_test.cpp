// That cuDNN has plans for the networks' convolutions, on devices that are only described: the real cuDNN, no GPU, and
// tests/libcuda_stand_in for the driver. It shows that cuDNN accepts the graphs, with the numerics and within the
// workspace that were asked for, and compiles what it must compile. It shows nothing about results or speed.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <ostream>

#include "cuda/cudnn_convolution.h"
#include "layers/cost.h"
#include "tests/described_devices.h"

namespace stagewise {
namespace described_devices {
void PrintTo(const Device& device, std::ostream* out) { *out << device.name; }
}  // namespace described_devices

namespace {

using cuda::ConvolutionGraph;
using cuda::ConvolutionSettings;
using cuda::CudnnConvolutions;
using described_devices::Device;
using Direction = ConvolutionGraph::Direction;

constexpr std::int64_t kBatches[] = {1, 128, 512};

/// Every convolution of ResNet-20 to 110 and of the released networks (whose depths differ but whose shapes don't), in
/// both variants, on CIFAR's images and on larger ones; those of the same sizes once.
std::vector<Convolution> network_convolutions() {
  std::vector<Convolution> all;
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    for (const std::vector<std::int64_t>& depths :
         {std::vector<std::int64_t>{3, 3, 3}, {5, 5, 5}, {7, 7, 7}, {9, 9, 9}, {18, 18, 18}, {6, 8, 6}, {2, 2, 2, 2}}) {
      for (const auto& [convolution, count] : distinct_convolutions(Architecture::of_depths(depths, variant))) {
        const bool seen = std::any_of(all.begin(), all.end(), [&, &one = convolution](const Convolution& other) {
          return other.input == one.input && other.filter == one.filter && other.options == one.options;
        });
        if (!seen) all.push_back(convolution);
      }
    }
  }
  return all;
}

ConvolutionGraph graph_of(const Convolution& convolution, std::int64_t batch, Direction direction, DType dtype) {
  const Shape &x = convolution.input, &weight = convolution.filter;
  const Conv2dOptions& options = convolution.options;
  return {.direction = direction,
          .x = {batch, x[1], x[2], x[3]},
          .weight = weight,
          .y = convolution_output({batch, x[1], x[2], x[3]}, weight, options),
          .options = options,
          .maps = dtype,
          .filters = dtype};
}

/// What every plan must be.
void expect_plan(CudnnConvolutions& convolutions, const ConvolutionGraph& graph, const ConvolutionSettings& settings) {
  std::string why;
  const cudnn::Plan* const plan = convolutions.plan(graph, &why);
  ASSERT_NE(plan, nullptr) << graph.description() << ": " << why;
  EXPECT_LE(plan->workspace_bytes(), settings.workspace_bytes) << graph.description();
  if (settings.deterministic) {
    EXPECT_FALSE(plan->has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) << graph.description();
  }
  if (graph.maps == DType::float32 && !settings.tf32) {
    EXPECT_FALSE(plan->has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE)) << graph.description();
    EXPECT_FALSE(plan->has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) << graph.description();
  }
  EXPECT_FALSE(plan->has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) << graph.description();
  EXPECT_FALSE(settings.strict && plan->has(CUDNN_NUMERICAL_NOTE_WINOGRAD)) << graph.description();
}

class Plans : public testing::TestWithParam<Device> {
 protected:
  static CudnnConvolutions planner(const ConvolutionSettings& settings) {
    return {cudnn::Target::described(GetParam().json()), settings};
  }
};

TEST_P(Plans, ExistForEveryConvolutionOfTheNetworksInEveryDirection) {
  struct Precision {
    DType dtype;
    ConvolutionSettings settings;
  };
  const Precision precisions[] = {{DType::float32, {}},
                                  {DType::float32, {.strict = true}},
                                  {DType::float32, {.tf32 = true}},
                                  {DType::float32, {.tf32 = true, .deterministic = false}},
                                  {DType::bfloat16, {}}};
  for (const auto& [dtype, settings] : precisions) {
    CudnnConvolutions convolutions = planner(settings);
    for (const Convolution& convolution : network_convolutions()) {
      for (const std::int64_t batch : kBatches) {
        for (const Direction direction : {Direction::forward, Direction::by_data, Direction::by_weights}) {
          // Nobody asks for the gradient of the images.
          if (direction == Direction::by_data && convolution.input[3] == 3) continue;
          ConvolutionGraph graph = graph_of(convolution, batch, direction, dtype);
          expect_plan(convolutions, graph, settings);
          graph.add_to_output = true;
          if (direction != Direction::by_weights) expect_plan(convolutions, graph, settings);
        }
      }
    }
  }
}

TEST_P(Plans, ExistForInferenceWithBiasAddendAndReluInOneGo) {
  const ConvolutionSettings settings;
  CudnnConvolutions convolutions = planner(settings);
  for (const Convolution& convolution : network_convolutions()) {
    for (const std::int64_t batch : kBatches) {
      ConvolutionGraph graph = graph_of(convolution, batch, Direction::forward, DType::float32);
      graph.bias = true;
      expect_plan(convolutions, graph, settings);
      graph.relu = true;
      expect_plan(convolutions, graph, settings);
      graph.addend = true;
      expect_plan(convolutions, graph, settings);
    }
  }
}

/// Of these cuDNN compiles the kernels, about a second each, so not all sizes are tried on all devices and in both
/// directions, but the first block of the last stage is, which has a 3x3 convolution at stride 2, a 1x1 one at stride 2
/// and a 3x3 one at stride 1.
TEST_P(Plans, ExistForTheFusedPatternsInBFloat16) {
  const ConvolutionSettings settings;
  CudnnConvolutions convolutions = planner(settings);
  const bool all = GetParam().capability == described_devices::kHopper.capability;
  const Architecture architecture = Architecture::of_depths({1, 1, 1}, Variant::paper);
  for (const auto& [convolution, count] : distinct_convolutions(architecture)) {
    // The images are not normalised on read, and have too few channels for an engine that writes float32.
    if (convolution.input[3] == 3 || (!all && convolution.filter[0] != 64)) continue;
    ConvolutionGraph graph = graph_of(convolution, 128, Direction::forward, DType::bfloat16);
    graph.normalise = true;
    expect_plan(convolutions, graph, settings);
    if (convolution.filter[0] != 64) continue;
    ConvolutionGraph by_weights = graph_of(convolution, 128, Direction::by_weights, DType::bfloat16);
    by_weights.filters = DType::float32;
    expect_plan(convolutions, by_weights, settings);
  }
}

INSTANTIATE_TEST_SUITE_P(Described, Plans,
                         testing::Values(described_devices::kAmpere, described_devices::kHopper,
                                         described_devices::kBlackwell, described_devices::kBlackwellRtx),
                         [](const auto& info) { return concat("sm_", info.param.capability); });

Convolution some_convolution() {
  return {
      .name = "", .input = {1, 16, 16, 32}, .filter = {32, 3, 3, 32}, .output = {1, 16, 16, 32}, .options = {1, 1, 1}};
}

/// Turing's tensor cores don't know bfloat16. (By weights cuDNN compiles an engine that does without them.)
TEST(NoPlan, ForBFloat16OnTuring) {
  std::vector<std::string> reported;
  ConvolutionSettings settings;
  settings.report = [&](const std::string& line) { reported.push_back(line); };
  CudnnConvolutions convolutions(cudnn::Target::described(described_devices::kTuring.json()), settings);
  for (const Direction direction : {Direction::forward, Direction::by_data}) {
    std::string why;
    EXPECT_EQ(convolutions.plan(graph_of(some_convolution(), 128, direction, DType::bfloat16), &why), nullptr);
    EXPECT_FALSE(why.empty());
    expect_plan(convolutions, graph_of(some_convolution(), 128, direction, DType::float32), settings);
  }
  ASSERT_EQ(reported.size(), 2U);
  EXPECT_NE(reported[1].find("no plan for a convolution by data, [128,16,16,32] with [32,3,3,32]"), std::string::npos)
      << reported[1];
  convolutions.plan(graph_of(some_convolution(), 128, Direction::forward, DType::bfloat16));
  EXPECT_EQ(reported.size(), 2U) << "told twice";
}

TEST(NoPlan, BeyondTheWorkspaceOrTheNumericsThatWereAskedFor) {
  const cudnn::Target target = cudnn::Target::described(described_devices::kHopper.json());
  const ConvolutionGraph graph = graph_of(some_convolution(), 128, Direction::by_weights, DType::bfloat16);
  CudnnConvolutions roomy(target, {});
  const cudnn::Plan* const large = roomy.plan(graph);
  ASSERT_NE(large, nullptr);
  ASSERT_GT(large->workspace_bytes(), 100U);
  CudnnConvolutions cramped(target, {.workspace_bytes = 100});
  std::string why;
  const cudnn::Plan* const small = cramped.plan(graph, &why);
  if (small != nullptr) {
    EXPECT_LE(small->workspace_bytes(), 100U);
  } else {
    EXPECT_NE(why.find("beyond the workspace"), std::string::npos) << why;
  }
  // Normalising on read exists on tensor cores only.
  ConvolutionGraph fused = graph_of(some_convolution(), 128, Direction::forward, DType::float32);
  fused.normalise = true;
  EXPECT_EQ(roomy.plan(fused, &why), nullptr);
  EXPECT_NE(why.find("not exact enough"), std::string::npos) << why;
}

/// What a call that throws says; "" for one that doesn't.
template <class Call>
std::string words_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

ConvolutionGraph normalised_on_read(std::int64_t batch) {
  ConvolutionGraph graph = graph_of(some_convolution(), batch, Direction::forward, DType::bfloat16);
  graph.normalise = true;
  return graph;
}

double milliseconds(const std::function<void()>& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
}

/// The machine code is in the text. That nothing is compiled shows in the time: a fiftieth, seen here.
TEST(SerialisedPlan, OfAnEngineThatWasCompiledIsLoadedAndNotCompiledAgain) {
  const cudnn::Target target = cudnn::Target::described(described_devices::kHopper.json());
  CudnnConvolutions convolutions(target, {});
  const cudnn::Plan* made = nullptr;
  const double compiling = milliseconds([&] { made = convolutions.plan(normalised_on_read(128)); });
  ASSERT_NE(made, nullptr);
  EXPECT_TRUE(made->compiled());
  EXPECT_NE(made->settings().find("KERNEL_CFG"), std::string::npos) << made->settings();
  const std::string text = made->serialised();
  std::optional<cudnn::Plan> loaded;
  const double loading = milliseconds([&] { loaded.emplace(text, target); });
  EXPECT_LT(loading, compiling / 5);
  EXPECT_EQ(loaded->workspace_bytes(), made->workspace_bytes());
  EXPECT_EQ(loaded->settings(), made->settings());
}

TEST(SerialisedPlan, OfAnotherDeviceOrOfNoneIsRefused) {
  const cudnn::Target hopper = cudnn::Target::described(described_devices::kHopper.json());
  const cudnn::Target ampere = cudnn::Target::described(described_devices::kAmpere.json());
  CudnnConvolutions convolutions(hopper, {});
  const auto graph = graph_of(some_convolution(), 128, Direction::forward, DType::float32);
  const std::string text = convolutions.plan(graph)->serialised();
  EXPECT_EQ(words_of([&] { cudnn::Plan(text, hopper); }), "");
  EXPECT_NE(words_of([&] { cudnn::Plan(text, ampere); }), "");
  EXPECT_NE(words_of([&] { cudnn::Plan("{}", hopper); }).find("[cudnn] a serialised plan"), std::string::npos);
}

/// Of a pass's last batch, of evaluations, and of inference.
TEST(SeldomSizes, HaveNothingCompiledForThem) {
  CudnnConvolutions convolutions(cudnn::Target::described(described_devices::kHopper.json()), {});
  convolutions.expect_batch(128);
  std::string why;
  EXPECT_NE(convolutions.plan(normalised_on_read(128)), nullptr);
  EXPECT_EQ(convolutions.plan(normalised_on_read(80), &why), nullptr);
  EXPECT_NE(why.find("to be compiled, for sizes that come seldom"), std::string::npos) << why;
  ConvolutionGraph inference = graph_of(some_convolution(), 128, Direction::forward, DType::bfloat16);
  inference.bias = inference.relu = true;
  EXPECT_EQ(convolutions.plan(inference), nullptr);
  for (const Convolution& convolution : network_convolutions()) {
    for (const Direction direction : {Direction::forward, Direction::by_data}) {
      if (convolution.input[3] == 3 && direction == Direction::by_data) continue;
      const cudnn::Plan* const plan = convolutions.plan(graph_of(convolution, 80, direction, DType::bfloat16));
      ASSERT_NE(plan, nullptr) << convolution.name;
      EXPECT_FALSE(plan->compiled()) << convolution.name;
    }
  }
}

TEST(PlanFile, SaysWhichPlanAConvolutionHas) {
  const cudnn::Target target = cudnn::Target::described(described_devices::kHopper.json());
  const Convolution convolution = some_convolution();
  const auto forward = graph_of(convolution, 128, Direction::forward, DType::float32);
  const auto by_data = graph_of(convolution, 128, Direction::by_data, DType::float32);
  const auto by_weights = graph_of(convolution, 128, Direction::by_weights, DType::float32);
  CudnnConvolutions by_order(target, {});
  const std::vector<cudnn::Plan> all = by_order.candidates(forward);
  ASSERT_GT(all.size(), 2U);
  EXPECT_NE(all.back().settings() + all.back().description(), all[0].settings() + all[0].description());

  auto file = std::make_shared<PlanFile>();
  file->plans[by_order.name_in_file(forward)] = {
      .engine = kCudnnEngine, .description = "the last engine", .plan = all.back().serialised()};
  file->plans[by_order.name_in_file(by_data)] = {.engine = kInParts, .description = "our direct kernel"};
  CudnnConvolutions tuned(target, {.plans = file});
  EXPECT_EQ(tuned.plan(forward)->settings(), all.back().settings());
  EXPECT_EQ(tuned.plan(by_data), nullptr);
  EXPECT_EQ(tuned.plan(by_weights)->settings(), by_order.plan(by_weights)->settings());
  const auto texts = tuned.describe(forward.x, forward.weight, convolution.options, DType::float32);
  EXPECT_NE(texts[0].reason.find("the last engine"), std::string::npos) << texts[0].reason;
  EXPECT_NE(texts[0].reason.find("by the plan file"), std::string::npos) << texts[0].reason;
  EXPECT_EQ(texts[1].algorithm, "direct");
  EXPECT_NE(texts[1].reason.find("by the plan file it goes in parts"), std::string::npos) << texts[1].reason;
  EXPECT_NE(texts[2].reason.find("first in cuDNN's order"), std::string::npos) << texts[2].reason;

  // What is allowed is part of the name, so that a file serves several precisions.
  CudnnConvolutions tf32(target, {.tf32 = true, .plans = file});
  EXPECT_NE(tf32.plan(by_data), nullptr);
  file->plans[by_order.name_in_file(forward)].plan = "{}";
  CudnnConvolutions broken(target, {.plans = file});
  EXPECT_NE(words_of([&] { broken.plan(forward); }).find("can't be used, so tune again"), std::string::npos);
}

TEST(Graph, RefusesShapesThatDoNotFit) {
  const Conv2dOptions padded{1, 1, 1};
  const auto refused = [&](const Shape& x, const Shape& weight, const Shape& y) {
    return words_of([&] {
      cudnn::Graph graph;
      graph.convolution_forward(graph.tensor(0, x, DType::float32), graph.tensor(1, weight, DType::float32),
                                graph.tensor(2, y, DType::float32), padded);
    });
  };
  EXPECT_EQ(refused({2, 8, 8, 16}, {32, 3, 3, 16}, {2, 8, 8, 32}), "");
  EXPECT_NE(refused({2, 8, 8, 16}, {32, 3, 3, 8}, {2, 8, 8, 31}).find("[2,8,8,16] with [32,3,3,8]"), std::string::npos);
  EXPECT_NE(refused({2, 8, 8, 16}, {32, 3, 3, 16}, {2, 7, 8, 32}), "") << "one row too few";
  EXPECT_NE(refused({2, 8, 8, 16}, {32, 3, 3, 16}, {2, 8, 8, 31}), "") << "one filter too few";
}

TEST(Graph, RefusesScalesOfAnotherNumberOfChannelsWhichCudnnTakes) {
  const std::string words = words_of([] {
    cudnn::Graph graph;
    const auto x = graph.tensor(0, {2, 8, 8, 16}, DType::float32), y = graph.tensor(1, {2, 8, 8, 16}, DType::float32);
    graph.pointwise(CUDNN_POINTWISE_MUL, x, graph.per_channel(2, 8), y);
  });
  EXPECT_NE(words.find("one value for each of its 16 channels, got [1,1,1,8]"), std::string::npos) << words;
}

TEST(Target, SaysWhatIsWrongWithADescription) {
  EXPECT_NE(words_of([] { cudnn::Target::described("{}"); }).find("[cudnn] a described device"), std::string::npos);
}

TEST(Describe, TellsEngineAndWorkspaceOfEachDirection) {
  CudnnConvolutions convolutions(cudnn::Target::described(described_devices::kHopper.json()), {.tf32 = true});
  const auto texts = convolutions.describe({128, 32, 32, 16}, {16, 3, 3, 16}, {1, 1, 1}, DType::float32);
  ASSERT_EQ(texts.size(), 3U);
  EXPECT_EQ(texts[1].direction, "by data");
  EXPECT_EQ(texts[1].algorithm, "cuDNN");
  EXPECT_NE(texts[1].reason.find("tensor cores"), std::string::npos) << texts[1].reason;
}

TEST(Describe, TellsWhatIsFusedInBFloat16AndWhereMapsAreWidened) {
  CudnnConvolutions convolutions(cudnn::Target::described(described_devices::kHopper.json()), {});
  const auto block = convolutions.describe({128, 32, 32, 16}, {16, 3, 3, 16}, {1, 1, 1}, DType::bfloat16);
  EXPECT_NE(block[0].reason.find(" + batch norm and ReLU on read"), std::string::npos) << block[0].reason;
  const auto stem = convolutions.describe({128, 32, 32, 3}, {16, 3, 3, 3}, {1, 1, 1}, DType::bfloat16);
  EXPECT_NE(stem[2].reason.find("from maps widened to float32"), std::string::npos) << stem[2].reason;
}

}  // namespace
}  // namespace stagewise
