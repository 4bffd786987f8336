// A whole search on the CUDA backend beside the same search on the CPU: the same weights and batches to begin with, the
// same losses within rounding, and the same decisions. Runs on a GPU where there is one, else on the software GPU
// (tests/softgpu).
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "cpu/cpu_backend.h"
#include "cuda/cuda_backend.h"
#include "search/stagewise_search.h"
#include "tensor/atomic_file.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

/// The synthetic images at a quarter of their size, every fourth pixel of every fourth row: 8x8.
Images small_images(const Images& of) {
  Images small{.height = of.height / 4, .width = of.width / 4, .channels = of.channels, .labels = of.labels};
  for (std::int64_t i = 0; i < of.count(); ++i) {
    for (std::int64_t h = 0; h < of.height; h += 4) {
      for (std::int64_t w = 0; w < of.width; w += 4) {
        const auto pixel = of.pixels.begin() + ((i * of.height + h) * of.width + w) * of.channels;
        small.pixels.insert(small.pixels.end(), pixel, pixel + of.channels);
      }
    }
  }
  return small;
}

RunData small_data(Backend& backend, DType maps) {
  const Dataset synthetic = open_dataset("synthetic", {.synthetic_train = 40, .synthetic_test = 10});
  const Images train = small_images(synthetic.train);
  const Normalisation normalisation = channel_normalisation(train);
  RunData data{.description = "small",
               .classes = synthetic.classes,
               .height = train.height,
               .width = train.width,
               .channels = train.channels,
               .normalisation = normalisation,
               .images = ImageStore(backend, train, 10, normalisation, maps)};
  for (std::int32_t i = 0; i < 40; ++i) (i % 5 == 0 ? data.validation : data.train).push_back(i);
  data.load_test = [synthetic] { return small_images(synthetic.load_test()); };
  return data;
}

/// What the journal says of a search on a device: losses and scores in order, and each decision's outcome.
struct Course {
  std::vector<double> losses, scores;
  std::vector<std::vector<std::int64_t>> blocks;
};

Course search_on(Backend& backend, DType maps) {
  const TemporaryFolder folder;
  const RunData data = small_data(backend, maps);
  SearchOptions options{.start = {1, 1}, .iterations = 1, .criterion = "r2y"};
  options.training.epochs = 1;
  options.training.batch_size = 8;
  options.training.schedule.peak = 0.05;
  Progress progress(/*quiet=*/true);
  const RunDirectory run = RunDirectory::create(folder.path("run"), "search");
  StagewiseSearch search(backend, data, options, run, progress);
  while (search.step()) {
  }
  Course course;
  std::istringstream lines(read_file(run.journal()));
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line);
    if (event["event"] == "epoch") {
      course.losses.push_back(event["loss"]);
      course.losses.push_back(event["validation_loss"]);
    }
    if (event["event"] == "score") {
      for (const double score : event["scores"]) course.scores.push_back(score);
    }
    if (event["event"] == "decision") course.blocks.push_back(event["blocks_after"]);
  }
  return course;
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
  const auto cpu = make_cpu_backend(), cuda = make_cuda_backend({.memory = CudaOptions::Memory::exact});
  const auto values = [](Backend& backend) {
    ResNet network(backend, Architecture::of_depths({1, 2}), 0xfedcba9876543210);
    network.stages()[0].insert(1, BlockInitialiser::gaussian_bn);
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
  const auto cpu = make_cpu_backend(), cuda = make_cuda_backend({.memory = CudaOptions::Memory::exact});
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
  const auto cpu = make_cpu_backend(), cuda = make_cuda_backend({.memory = CudaOptions::Memory::exact});
  const Course expected = search_on(*cpu, DType::float32), got = search_on(*cuda, DType::float32);
  // A dozen steps at this rate let the last bits grow a thousandfold.
  expect_near(got.losses, expected.losses, 1e-3, "loss of epoch");
  expect_near(got.scores, expected.scores, 1e-2, "score");
  ASSERT_FALSE(expected.blocks.empty());
  EXPECT_EQ(got.blocks, expected.blocks);
}

TEST(CudaSearch, InBFloat16ItsLossesAreThoseOfFloat32WithinTheRounding) {
  const auto cpu = make_cpu_backend(), cuda = make_cuda_backend({.memory = CudaOptions::Memory::exact});
  if (!cuda->supports(DType::bfloat16)) GTEST_SKIP() << "this card has no bfloat16";
  const Course expected = search_on(*cpu, DType::float32), got = search_on(*cuda, DType::bfloat16);
  expect_near(got.losses, expected.losses, 0.05, "loss of epoch");
}

/// With memory that is cached, steps are recorded and replayed; with one allocation a tensor they are not.
TEST(CudaSearch, GivesTheSameBitsAgainWhetherItsStepsAreRecordedOrNot) {
  const auto first = make_cuda_backend(), second = make_cuda_backend({.memory = CudaOptions::Memory::exact});
  ASSERT_TRUE(first->can_record() && !second->can_record());
  const Course once = search_on(*first, DType::float32), again = search_on(*second, DType::float32);
  EXPECT_EQ(once.losses, again.losses);
  EXPECT_EQ(once.scores, again.scores);
}

}  // namespace
}  // namespace stagewise
