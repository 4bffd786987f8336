// The software GPU's own test: it catches each planted bug, by the right name and line, in every order, and says
// nothing about the same programs without the bug; and its instructions compute what the host does.
#include "softgpu.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <fstream>

#include "instructions.h"
#include "planted_bugs.h"

namespace softgpu_test {

namespace {

constexpr const char* orders[] = {"forward", "reverse", "random:1", "random:2"};

/// Whether `report` names one of the lines of planted_bugs.cu that carry `// BUG: name`.
bool names_line(const std::string& report, const std::string& name) {
  std::ifstream source(STAGEWISE_SOURCE_DIR "/tests/softgpu/planted_bugs.cu");
  const std::string mark = "// BUG: " + name;
  int number = 1;
  for (std::string line; std::getline(source, line); ++number) {
    if (line.size() < mark.size() || line.compare(line.size() - mark.size(), mark.size(), mark) != 0) continue;
    if (report.find("planted_bugs.cu:" + std::to_string(number) + " ") != std::string::npos) return true;
  }
  return false;
}

class PlantedBugs : public testing::TestWithParam<PlantedBug> {
 protected:
  void SetUp() override { softgpu_forget_error(); }
  void TearDown() override {
    softgpu_forget_error();
    softgpu_set_order("forward");
  }
};

TEST_P(PlantedBugs, AreCaughtInEveryOrder) {
  for (const char* order : orders) {
    ASSERT_EQ(softgpu_set_order(order), 0);
    const bool right = GetParam().run(false);
    const std::string report = softgpu_last_report();
    EXPECT_NE(report.find(GetParam().report), std::string::npos) << order << ": " << report;
    if (GetParam().place == PlantedBug::Place::host) {
      EXPECT_FALSE(right) << order;
      softgpu_forget_error();
      continue;
    }
    EXPECT_NE(softgpu_error(), cudaSuccess) << order;
    EXPECT_TRUE(names_line(report, GetParam().name)) << order << ": " << report;
    EXPECT_EQ(report.find("thread (") != std::string::npos, GetParam().place == PlantedBug::Place::thread) << report;
    softgpu_forget_error();
  }
}

TEST_P(PlantedBugs, CorrectedRunCleanInEveryOrder) {
  for (const char* order : orders) {
    ASSERT_EQ(softgpu_set_order(order), 0);
    EXPECT_TRUE(GetParam().run(true)) << order;
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess) << order << ": " << softgpu_last_report();
  }
}

std::string test_name(const std::string& name) {
  std::string result;
  bool capital = true;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      result += capital ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    }
    capital = c == ' ';
  }
  return result;
}

INSTANTIATE_TEST_SUITE_P(SoftwareGpu, PlantedBugs, testing::ValuesIn(planted_bugs()),
                         [](const auto& info) { return test_name(info.param.name); });

class Instructions : public testing::TestWithParam<InstructionCheck> {};

TEST_P(Instructions, ComputeWhatTheHostDoes) {
  softgpu_forget_error();
  const std::string difference = GetParam().run();
  EXPECT_EQ(difference, "");
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess) << softgpu_last_report();
}

INSTANTIATE_TEST_SUITE_P(SoftwareGpu, Instructions, testing::ValuesIn(instruction_checks()),
                         [](const auto& info) { return test_name(info.param.name); });
INSTANTIATE_TEST_SUITE_P(Collectives, Instructions, testing::ValuesIn(collective_checks()),
                         [](const auto& info) { return test_name(info.param.name); });
INSTANTIATE_TEST_SUITE_P(Matrices, Instructions, testing::ValuesIn(matrix_checks()),
                         [](const auto& info) { return test_name(info.param.name); });

/// The records of accesses have 12 bits for the work: what comes round again must not be taken for what was before.
TEST(SoftwareGpu, OutlivesTheIdentitiesOfWork) {
  softgpu_forget_error();
  const std::vector<PlantedBug> bugs = planted_bugs();
  const auto transpose = std::find_if(bugs.begin(), bugs.end(), [](const PlantedBug& bug) {
    return std::string(bug.name) == "missing barrier in transpose";
  });
  for (int i = 0; i < 4200; ++i) ASSERT_TRUE(transpose->run(true)) << i << ": " << softgpu_last_report();
}

TEST(SoftwareGpu, CountsWhatIsLeaked) {
  softgpu_forget_error();
  const int before = softgpu_report_leaks();
  void* pointer = nullptr;
  ASSERT_EQ(cudaMalloc(&pointer, 100), cudaSuccess);
  EXPECT_EQ(softgpu_report_leaks(), before + 1);
  ASSERT_EQ(cudaFree(pointer), cudaSuccess);
  EXPECT_EQ(softgpu_report_leaks(), before);
  EXPECT_EQ(cudaFree(pointer), cudaErrorInvalidValue);
}

TEST(SoftwareGpu, HasAnEnd) {
  softgpu_forget_error();
  std::size_t free = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  void* pointer = nullptr;
  EXPECT_EQ(cudaMalloc(&pointer, total + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(pointer, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "running out of memory doesn't stick";
}

TEST(SoftwareGpuDeathTest, DeviceMemoryIsOutOfTheHostsReach) {
  softgpu_forget_error();
  int* pointer = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&pointer), 4), cudaSuccess);
  EXPECT_DEATH(*static_cast<volatile int*>(pointer) = 1, "");
  cudaFree(pointer);
}

}  // namespace
}  // namespace softgpu_test
