// A whole search on the CUDA backend beside the same search on the CPU: the same weights and batches to begin with, the
// same losses within rounding, and the same decisions. Runs on a GPU where there is one, else on the software GPU
// (tests/softgpu).
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cpu/cpu_backend.h"
#include "search/search_run.h"
#include "tensor/atomic_file.h"
#include "tests/cuda_memory.h"
#include "tests/small_data.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

/// What the journal says of a search on a device: losses and scores in order, and each decision's outcome.
struct Course {
  std::vector<double> losses, scores;
  std::vector<std::vector<std::int64_t>> blocks;
};

Course search_on(Backend& backend, DType maps, const SearchOptions& options) {
  const TemporaryFolder folder;
  const RunData data = small_data(backend, 40, 10, maps);
  Progress progress(/*quiet=*/true);
  const RunDirectory run = RunDirectory::create(folder.path("run"), "search");
  SearchRun search(backend, data, options, run, progress);
  while (search.step()) {
  }
  Course course;
  std::istringstream lines(read_file(run.journal()));
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line);
    if (event["event"] == "epoch") course.losses.push_back(event["loss"]);
    if (event["event"] == "score") {
      for (const double score : event["scores"]) course.scores.push_back(score);
    }
    if (event["event"] != "decision") continue;
    course.blocks.push_back(event["blocks_after"]);
    for (const auto& stage : event["stages"]) {
      if (stage.contains("score")) course.scores.push_back(stage["score"]);
    }
  }
  return course;
}

/// Six epochs of the start's work.
SearchOptions options_of(const std::string& strategy) {
  SearchOptions options{.start = {1, 1}, .strategy = strategy};
  options.training.epochs = 6;
  options.training.batch_size = 8;
  options.training.schedule.peak = 0.05;
  if (strategy == "paper") options.iterations = 1, options.criterion = "r2y";
  if (strategy == "stagewise") options.grow_to = {2, 2}, options.skip = 0.5;
  return options;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected, double tolerance,
                 const char* what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  ASSERT_FALSE(got.empty()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(std::abs(got[i] - expected[i]) <= tolerance * std::max(1.0, std::abs(expected[i])))
        << what << " " << i << ": " << got[i] << ", on the CPU " << expected[i];
  }
}

TEST(CudaDraws, ANetworkStartsWithTheCpusBits) {
  const auto cpu = make_cpu_backend(), cuda = make_cuda_backend({.memory = memory_of_tests()});
  const auto values = [](Backend& backend) {
    Network network(backend, Architecture::of_depths({1, 2}), 0xfedcba9876543210);
    network.insert(0, 1, BlockInitialiser::gaussian_bn);
    std::map<std::string, std::vector<double>> of_names;
    for (const auto& [name, tensor] : tensors_of([&](const Visitor& visitor) { network.visit(visitor); })) {
      of_names[name] = tensor.to_doubles();
    }
    return of_names;
  };
  const auto expected = values(*cpu);
  EXPECT_GT(expected.size(), 20U);
  EXPECT_EQ(values(*cuda), expected);
}

TEST(CudaDraws, ABatchIsTheCpusToTheBit) {
  const auto cpu = make_cpu_backend(), cuda = make_cuda_backend({.memory = memory_of_tests()});
  const Images images = small_images(open_dataset("synthetic", {.synthetic_train = 40, .synthetic_test = 10}).train);
  // In float32 exact whether a backend fuses the multiplication and the subtraction or not: only the draws are tested.
  const Normalisation normalisation{std::vector<float>(static_cast<std::size_t>(images.channels), 1.0F / 64),
                                    std::vector<float>(static_cast<std::size_t>(images.image_bytes()), 1.5F)};
  const ImageStore expected_store(*cpu, images, 10, normalisation), store(*cuda, images, 10, normalisation);
  const std::vector<std::int32_t> indices = all_indices(40);
  TrainingEpoch expected(expected_store, indices, 13, {}, 0xfedcba9876543210, 2);
  TrainingEpoch got(store, indices, 13, {}, 0xfedcba9876543210, 2);
  ASSERT_EQ(got.batches(), expected.batches());
  for (std::int64_t b = 0; b < got.batches(); ++b) {
    const Batch batch = got.next(), truth = expected.next();
    EXPECT_EQ(batch.x.to_host<float>(), truth.x.to_host<float>());
    EXPECT_EQ(batch.labels.to_host<std::int32_t>(), truth.labels.to_host<std::int32_t>());
  }
}

TEST(CudaSearch, FollowsTheCpusLossesAndMakesItsDecisions) {
  const auto cpu = make_cpu_backend(), cuda = make_cuda_backend({.memory = memory_of_tests()});
  const SearchOptions options = options_of("paper");
  const Course expected = search_on(*cpu, DType::float32, options), got = search_on(*cuda, DType::float32, options);
  // A dozen steps at this rate let the last bits grow a thousandfold.
  expect_near(got.losses, expected.losses, 1e-3, "loss of epoch");
  expect_near(got.scores, expected.scores, 1e-2, "score");
  ASSERT_FALSE(expected.blocks.empty());
  EXPECT_EQ(got.blocks, expected.blocks);
}

TEST(CudaSearch, InBFloat16ItsLossesAreThoseOfFloat32WithinTheRounding) {
  const auto cpu = make_cpu_backend(), cuda = make_cuda_backend({.memory = memory_of_tests()});
  if (!cuda->supports(DType::bfloat16)) GTEST_SKIP() << "this card has no bfloat16";
  const SearchOptions options = options_of("paper");
  const Course expected = search_on(*cpu, DType::float32, options), got = search_on(*cuda, DType::bfloat16, options);
  expect_near(got.losses, expected.losses, 0.05, "loss of epoch");
}

/// With memory that is cached, steps are recorded and replayed; with one allocation a tensor they are not.
TEST(CudaSearch, GivesTheSameBitsAgainWhetherItsStepsAreRecordedOrNot) {
  const auto first = make_cuda_backend(), second = make_cuda_backend({.memory = memory_of_tests()});
  ASSERT_TRUE(first->can_record() && !second->can_record());
  SearchOptions options = options_of("stagewise");  // a recording for each form of the network
  for (const OptimiserKind kind : {OptimiserKind::sgd, OptimiserKind::adamw}) {
    options.training.optimiser.kind = kind;
    const Course once = search_on(*first, DType::float32, options), again = search_on(*second, DType::float32, options);
    EXPECT_EQ(once.losses, again.losses) << name_of(kind);
    EXPECT_EQ(once.scores, again.scores) << name_of(kind);
  }
}

TEST(CudaSearch, WithAdamWItFollowsTheCpusLosses) {
  const auto cpu = make_cpu_backend(), cuda = make_cuda_backend({.memory = memory_of_tests()});
  SearchOptions options = options_of("jump");
  options.grow_to = {2, 1};
  options.training.epochs = 3;
  options.training.optimiser.kind = OptimiserKind::adamw;
  options.training.schedule.peak = 1e-3;
  const Course expected = search_on(*cpu, DType::float32, options), got = search_on(*cuda, DType::float32, options);
  // Where a gradient is near 0, so is its square: the quotient makes much of the last bits.
  expect_near(got.losses, expected.losses, 1e-2, "loss of epoch");
}

TEST(CudaSearch, OfEveryKindOfBlockTheLossesAreTheCpus) {
  const auto cpu = make_cpu_backend(), cuda = make_cuda_backend({.memory = memory_of_tests()});
  SearchOptions options = options_of("jump");
  options.grow_to = {2, 1};
  options.training.epochs = 2;
  for (const NetworkStyle& style :
       {NetworkStyle{.block = BlockKind::bottleneck, .stem = StemKind::imagenet, .widths = {4, 8}},
        NetworkStyle{.block = BlockKind::pre_activation, .widths = {8, 16}},
        NetworkStyle{.block = BlockKind::pre_activation_bottleneck, .shortcut = Shortcut::padding, .widths = {4, 8}}}) {
    options.style = style;
    SCOPED_TRACE(name_of(style.block));
    expect_near(search_on(*cuda, DType::float32, options).losses, search_on(*cpu, DType::float32, options).losses, 1e-3,
                "loss of epoch");
  }
}

}  // namespace
}  // namespace stagewise
