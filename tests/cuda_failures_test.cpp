// What the CUDA half does when calls of CUDA fail that may: memory that runs out, steps that can't be recorded. The
// software GPU (tests/softgpu) makes them fail, so this needs one.
#include <gtest/gtest.h>

#include "cuda/cuda_backend.h"
#include "cuda/workspace.h"
#include "search/run/device.h"
#include "search/training/trainer.h"
#include "tests/program.h"
#include "tests/small_data.h"
#include "tests/softgpu/softgpu.h"

namespace stagewise {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Tensor megabytes(Backend& backend, std::int64_t count) { return Tensor(backend, {count * kMiB}, DType::uint8); }

class CudaFailures : public testing::Test {
 protected:
  void TearDown() override {
    for (const char* call : {"cudaMallocAsync", "captured launch", "cudaStreamBeginCapture", "cudaStreamEndCapture",
                             "cudaGraphInstantiate", "cudaGraphLaunch"}) {
      softgpu_fail(call, 0, 0);
    }
    softgpu_set_memory(8192 * kMiB);
  }

  std::vector<std::string> remarks_;
  std::unique_ptr<Backend> cuda_ =
      make_cuda_backend({.report = [this](const std::string& text) { remarks_.push_back(text); }});
};

TEST_F(CudaFailures, OutOfMemoryGivesBackWhatIsCachedAndTriesAgain) {
  softgpu_set_memory(64 * kMiB);
  const Tensor kept = megabytes(*cuda_, 8);
  megabytes(*cuda_, 32);  // cached from here on
  EXPECT_NO_THROW(megabytes(*cuda_, 48)) << "there is room only without what is cached";
  EXPECT_EQ(cuda_->allocator().statistics().bytes_cached, 48 * kMiB);
}

TEST_F(CudaFailures, OutOfMemorySaysWhatWasAskedForWhatIsInUseAndWhatIsFree) {
  softgpu_set_memory(64 * kMiB);
  const Tensor kept = megabytes(*cuda_, 16);
  try {
    megabytes(*cuda_, 64);
    FAIL() << "there are 48 MiB";
  } catch (const OutOfMemory& error) {
    EXPECT_STREQ(error.what(),
                 "out of memory: 67,108,864 bytes were asked for, 16,777,216 are in use, 50,331,648 of the device's "
                 "67,108,864 bytes are free");
  }
  EXPECT_NO_THROW(cuda_->fill(megabytes(*cuda_, 32), 1.0)) << "the device goes on";
}

TEST_F(CudaFailures, OutOfMemoryInARecordingLeavesTheCacheAloneAndIsARemark) {
  const Tensor x = Tensor::zeros(*cuda_, {1000});
  const auto work = [&] {
    const Tensor between(*cuda_, {1000});
    cuda_->add(x, x, between);
    cuda_->add(between, x, x);
  };
  { const Tensor other = megabytes(*cuda_, 1); }
  softgpu_fail("cudaMallocAsync", 0, 1000);
  EXPECT_EQ(cuda_->record(work), nullptr);
  EXPECT_EQ(cuda_->allocator().statistics().bytes_cached, kMiB);
  EXPECT_FALSE(cuda_->can_record());
  ASSERT_EQ(remarks_.size(), 1U);
  EXPECT_TRUE(contains(remarks_[0], "can't be recorded") && contains(remarks_[0], "out of memory: "));
  softgpu_fail("cudaMallocAsync", 0, 0);
  cuda_->fill(x, 1.0);
  work();
  EXPECT_EQ(x.to_host<float>()[999], 3.0F);
}

/// Of a small network after two passes of four steps.
std::vector<double> trained(Backend& backend) {
  const RunData data = small_data(backend, 40, 10);
  Learner learner;
  learner.network = std::make_unique<Network>(backend, data.architecture({1, 1}, Variant::standard), 1);
  const TrainingOptions options{.epochs = 2, .batch_size = 8, .schedule = {.peak = 0.05}};
  std::vector<double> values;
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    values.push_back(train_epoch(learner, data.images, data.train, options, epoch).loss);
  }
  for (const auto& [name, tensor] : learner.network->tensors()) {
    for (const double value : tensor.to_doubles()) values.push_back(value);
  }
  return values;
}

/// Wherever it is that a step can't be recorded, it is done without, once and for all, to the same bits.
TEST_F(CudaFailures, AStepThatCannotBeRecordedIsDoneWithoutAndTheBitsAreTheSame) {
  const std::vector<double> recorded = trained(*cuda_);
  EXPECT_TRUE(remarks_.empty() && cuda_->can_record());
  EXPECT_EQ(trained(*make_cuda_backend({.record = false})), recorded);
  struct Failure {
    const char* call;
    int before;  // which the step's forward pass, or half of its backward pass, has succeeded
  };
  for (const Failure& failure :
       {Failure{"cudaStreamBeginCapture", 0}, Failure{"captured launch", 3}, Failure{"captured launch", 42},
        Failure{"cudaStreamEndCapture", 0}, Failure{"cudaGraphInstantiate", 0}, Failure{"cudaGraphLaunch", 0}}) {
    std::vector<std::string> remarks;
    const auto cuda = make_cuda_backend({.report = [&](const std::string& text) { remarks.push_back(text); }});
    ASSERT_EQ(softgpu_fail(failure.call, failure.before, 1), 0);
    EXPECT_EQ(trained(*cuda), recorded) << failure.call;
    EXPECT_FALSE(cuda->can_record()) << failure.call;
    ASSERT_EQ(remarks.size(), 1U) << failure.call;
    EXPECT_TRUE(contains(remarks[0], "with the same results: ")) << remarks[0];
  }
}

TEST_F(CudaFailures, TheWorkspaceGrowsAndTheSmallerOneGoesBack) {
  cuda::Workspace workspace(/*shared=*/true);
  const Tensor small = workspace.of(*cuda_, 1000);
  EXPECT_EQ(workspace.of(*cuda_, 500).address(), small.address());
  const std::int64_t before = cuda_->allocator().statistics().bytes_in_use;
  {
    const Tensor beside = workspace.begin_recording();
    EXPECT_EQ(beside.address(), small.address());
    const Tensor own = workspace.of(*cuda_, 5000);
    EXPECT_NE(own.address(), small.address());
    EXPECT_EQ(workspace.of(*cuda_, 1000).address(), small.address()) << "a recording's is never replaced";
    workspace.end_recording();
  }
  EXPECT_EQ(cuda_->allocator().statistics().bytes_in_use, before);
  const Tensor large = workspace.of(*cuda_, 5000);
  EXPECT_EQ(workspace.of(*cuda_, 1000).address(), large.address());
  EXPECT_EQ(cuda_->allocator().statistics().bytes_cached, 0);
  cuda::Workspace exact(/*shared=*/false);
  EXPECT_EQ(exact.of(*cuda_, 100).bytes(), 100U);
}

/// A convolution of a larger batch needs a larger workspace, and the recording still has the addresses of the smaller.
TEST_F(CudaFailures, ARecordingKeepsItsWorkspaceWhenALargerOneTakesOver) {
  const auto convolution = [&](std::int64_t images, double x) -> ConvolutionForward {
    return {.x = Tensor::full(*cuda_, {images, 8, 8, 16}, x),
            .weight = Tensor::full(*cuda_, {16, 1, 1, 16}, 0.25),
            .y = Tensor(*cuda_, {images, 8, 8, 16}),
            .options = {}};
  };
  const ConvolutionForward small = convolution(1, 1.0);
  const auto work = [&] { cuda_->convolution_forward(small); };
  work();
  const auto recording = cuda_->record(work);
  ASSERT_NE(recording, nullptr);
  cuda_->convolution_forward(convolution(8, 1.0));
  const Tensor taken = Tensor::full(*cuda_, {kMiB / 16}, 7.0);
  cuda_->fill(small.x, 2.0);
  recording->replay();
  EXPECT_EQ(small.y.to_host<float>()[100], 8.0F);
  const std::vector<float> found = taken.to_host<float>();
  EXPECT_EQ(std::count(found.begin(), found.end(), 7.0F), std::ssize(found));
}

TEST_F(CudaFailures, NoGraphTurnsRecordingOff) {
  EXPECT_TRUE(open_backend({.device = "cuda"})->can_record());
  EXPECT_FALSE(open_backend({.device = "cuda", .no_graph = true})->can_record());
}

using CudaProgram = Program;

TEST_F(CudaProgram, OutOfMemorySaysWhatToLower) {
  const Result result = run({"train", "--device", "cuda", "--synthetic-train", "400", "--batch-size", "400", "--blocks",
                             "1", "--epochs", "1", "--out", "x"},
                            {.environment = {"SOFTGPU_MEMORY=24"}});
  EXPECT_EQ(result.code, 1);
  for (const char* part : {"out of memory: ", " bytes were asked for", " of the device's 25,165,824 bytes are free",
                           "--batch-size", "--precision bf16"}) {
    EXPECT_TRUE(contains(result.error, part)) << result.error;
  }
}

}  // namespace
}  // namespace stagewise
