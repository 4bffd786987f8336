// Real data, real networks, whole trainings. Needs CIFAR-10 (STAGEWISE_CIFAR10: the folder that holds
// cifar-10-batches-bin) and, for the released networks, the shared reference folder (STAGEWISE_SHARED); skips where
// they are absent.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <string>

#include "cpu/cpu_backend.h"
#include "datasets/dataset.h"
#include "search/importance.h"
#include "search/training/model_file.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

std::string variable_or(const char* name, const std::string& fallback) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : fallback;
}

std::string cifar10() { return variable_or("STAGEWISE_CIFAR10", ""); }

std::string released(int iteration) {
  return variable_or("STAGEWISE_SHARED", STAGEWISE_SOURCE_DIR "/../shared") + "/reference/released/iteration" +
         std::to_string(iteration) + ".safetensors";
}

#define NEEDS_CIFAR10() \
  if (cifar10().empty()) GTEST_SKIP() << "set STAGEWISE_CIFAR10 to the folder that holds cifar-10-batches-bin"
#define NEEDS_RELEASED(iteration)                                             \
  if (!std::filesystem::exists(released(iteration))) {                        \
    GTEST_SKIP() << "no " << released(iteration) << ": set STAGEWISE_SHARED"; \
  }

/// What the program writes to its standard output.
std::string output_of(const std::string& arguments) {
  std::FILE* const pipe = popen((std::string(STAGEWISE_PROGRAM) + " " + arguments).c_str(), "r");
  std::string output;
  std::array<char, 4096> buffer;
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe))
    output.append(buffer.data(), count);
  EXPECT_EQ(pclose(pipe), 0) << output;
  return output;
}

/// From a line such as `9,338 of 10,000 right (93.38%)`; -1 where there is none for `of` images.
long right_of(const std::string& output, const std::string& of = "10,000") {
  std::smatch match;
  if (!std::regex_search(output, match, std::regex("([0-9,]+) of " + of + " right"))) return -1;
  return std::stol(std::regex_replace(match[1].str(), std::regex(","), ""));
}

void expect_right(int iteration, long right) {
  NEEDS_CIFAR10();
  NEEDS_RELEASED(iteration);
  const std::string output = output_of("evaluate " + released(iteration) + " --variant paper --data " + cifar10());
  EXPECT_NEAR(right_of(output), right, 2) << output;
}

void expect_scores(int iteration, const std::array<double, 3>& expected) {
  NEEDS_CIFAR10();
  NEEDS_RELEASED(iteration);
  const auto backend = make_cpu_backend();
  const Dataset data = open_dataset(cifar10());
  const Model model = load_model(*backend, released(iteration), Variant::paper);
  const ImageStore images(*backend, data.train, 10, mean_image_normalisation(data.train));
  const auto all = all_indices(images.count());
  const auto scores = score_stages(*model.network, images, all, {}, *make_criterion("vip"), 0);
  ASSERT_EQ(scores.size(), expected.size());
  for (std::size_t stage = 0; stage < expected.size(); ++stage) {
    EXPECT_NEAR(scores[stage].value, expected[stage], 1e-3 * expected[stage]) << "stage " << stage + 1;
  }
}

TEST(RealData, ReleasedIteration1IsAsAccurateAsThePaperSays) { expect_right(1, 9338); }
TEST(RealData, ReleasedIteration1HasThePublishedStageScores) { expect_scores(1, {0.913145, 0.936522, 0.934953}); }

// The long suite (make test-all).
TEST(ReleasedNetworks, Iteration2) { expect_right(2, 9336); }
TEST(ReleasedNetworks, Iteration3) { expect_right(3, 9337); }
TEST(ReleasedNetworks, Iteration4) { expect_right(4, 9364); }
TEST(ReleasedNetworks, Iteration5) { expect_right(5, 9426); }
TEST(ReleasedNetworks, Iteration5HasThePublishedStageScores) { expect_scores(5, {0.941565, 0.920464, 0.913065}); }

TEST(RealData, ResNet8LearnsFiveThousandImagesInThreeEpochs) {
  NEEDS_CIFAR10();
  const TemporaryFolder folder;
  const std::string run = folder.path("run");
  output_of("train --blocks 1,1,1 --epochs 3 --train-images 5000 --batch-size 64 --quiet --data " + cifar10() +
            " --out " + run);
  const std::string output = output_of("evaluate " + run + " --data " + cifar10());
  EXPECT_GE(right_of(output), 4000) << output;
}

TEST(SyntheticData, AResNet8Passes85PercentWithinFiveEpochs) {
  const TemporaryFolder folder;
  const std::string run = folder.path("run");
  output_of("train --blocks 1,1,1 --epochs 5 --quiet --out " + run);
  const std::string output = output_of("evaluate " + run);
  EXPECT_GT(right_of(output, "2,000"), 1700) << output;
}

}  // namespace
}  // namespace stagewise
