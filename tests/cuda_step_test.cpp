// What a training step of ResNet-20 asks of a device: its launches, and the bytes that they read and write, counted on the
// software GPU (tests/softgpu). docs/cuda.md has the figures, and this test holds them there.
#include <gtest/gtest.h>

#include "autograd/functions.h"
#include "cuda/cuda_backend.h"
#include "layers/network.h"
#include "layers/optimiser.h"
#include "tests/primitive_cases.h"
#include "tests/softgpu/softgpu.h"

namespace stagewise {
namespace {

Architecture resnet20() {
  Architecture architecture = Architecture::of_depths({3, 3, 3});
  architecture.height = architecture.width = 8;  // a sixteenth of the pixels
  return architecture;
}

class StepOfResNet20 : public testing::Test {
 protected:
  /// Counts the third of three steps over `images` images, when all that stays has been allocated.
  void count(std::int64_t images, DType maps) {
    const Variable x(primitive_cases::map(*cuda_, {images, 8, 8, 3}, 1, maps));
    const Tensor labels = primitive_cases::labels(*cuda_, images, 10), rate = Tensor::full(*cuda_, {1}, 0.1);
    for (int step = 0; step < 3; ++step) {
      cuda_->synchronise();
      softgpu_count_traffic(step == 2 ? 1 : 0);
      Tape tape;
      const Context context{.tape = &tape, .training = true};
      tape.backward(softmax_cross_entropy(context, network_.forward(context, x), labels, 0.1));
      optimiser_->step(network_, rate);
      cuda_->synchronise();
    }
    softgpu_count_traffic(0);
  }

  /// Without the workspaces, for what a real cuDNN needs of them is its own: the stand-in's is as large as the output and
  /// 256 bytes more, and all of it is written.
  static double bytes_moved() {
    const softgpu_traffic all = softgpu_counted(""), convolutions = softgpu_counted("cudnnBackendExecute");
    const auto outputs = (convolutions.bytes_written - 256 * convolutions.works) / 2;
    return static_cast<double>(all.bytes_read + all.bytes_written - convolutions.bytes_written + outputs);
  }

  void expect(DType maps, std::uint64_t launches, double gigabytes_at_128) {
    // Maps and partial sums grow with the pixels, parameters don't: two sizes give the third.
    count(4, maps);
    EXPECT_EQ(softgpu_counted("").works, launches) << name_of(maps);
    const double of_a_quarter = bytes_moved();
    count(8, maps);
    const double of_an_image = 4 * (bytes_moved() - of_a_quarter);
    EXPECT_NEAR((of_a_quarter + 127.75 * of_an_image) / 1e9, gigabytes_at_128, 0.01 * gigabytes_at_128)
        << name_of(maps);
  }

  std::unique_ptr<Backend> cuda_ = make_cuda_backend();
  Network network_{*cuda_, resnet20(), 1};
  std::unique_ptr<Optimiser> optimiser_ = make_optimiser();
};

TEST_F(StepOfResNet20, HasTheLaunchesAndMovesTheBytesThatTheDocsSay) {
  expect(DType::float32, 205, 1.79);
  expect(DType::bfloat16, 239, 0.877);
}

}  // namespace
}  // namespace stagewise
