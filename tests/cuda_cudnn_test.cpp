// Convolutions through cuDNN (cuda/cudnn_convolution.h): every graph that it builds, against the reference backend and
// against each other. Runs on a GPU where there is one, else on the software GPU (tests/softgpu).
#include <cudnn_graph.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>

#include "cpu/reference_backend.h"
#include "cuda/cudnn_convolution.h"
#include "tests/cuda_memory.h"
#include "tests/primitive_cases.h"

namespace stagewise {

void PrintTo(DType dtype, std::ostream* out) { *out << name_of(dtype); }

namespace {

using cuda::ConvolutionSettings;
using cuda::CudnnConvolutions;
using primitive_cases::coefficients;
using primitive_cases::ConvolutionSize;
using primitive_cases::map;
using primitive_cases::uniform;

/// The backend's memory, and cuDNN on its stream.
class Device {
 public:
  Device() {
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudnnCreate(&handle_), CUDNN_STATUS_SUCCESS);
    EXPECT_EQ(cudnnSetStream(handle_, stream_), CUDNN_STATUS_SUCCESS);
    backend_ = make_cuda_backend({.memory = memory_of_tests(), .stream = stream_});
  }
  ~Device() {
    backend_.reset();
    cudnnDestroy(handle_);
    cudaStreamDestroy(stream_);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  Backend& backend() { return *backend_; }
  CudnnConvolutions convolutions(const ConvolutionSettings& settings = {}) {
    return {cudnn::Target(handle_), settings};
  }
  /// Whether cuDNN took the call.
  template <class... Call>
  bool run(const Call&... call) {
    return convolutions().run(call...);
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudnnHandle_t handle_ = nullptr;
  std::unique_ptr<Backend> backend_;
};

/// Sizes that are 1, odd, and no multiple of a vector; all strides and paddings of the networks and some more. Channels
/// are even where cuDNN's fused engines want them so.
const ConvolutionSize kSizes[] = {{2, 8, 8, 16, 16, 3, 3, {1, 1, 1}}, {3, 9, 8, 6, 10, 3, 3, {1, 1, 1}},
                                  {2, 8, 8, 16, 32, 3, 3, {2, 1, 1}}, {2, 8, 6, 8, 12, 3, 3, {2, 0, 1}},
                                  {2, 7, 9, 8, 6, 1, 1, {2, 0, 0}},   {1, 1, 1, 2, 2, 1, 1, {1, 0, 0}},
                                  {1, 5, 7, 4, 2, 5, 3, {3, 2, 0}}};
const ConvolutionSize kOddChannels[] = {{2, 8, 8, 3, 16, 3, 3, {1, 1, 1}}, {1, 6, 5, 17, 5, 3, 3, {2, 1, 1}}};

/// Padding that differs before and after: by weights cuDNN gets it wrong, so our own kernel has it.
bool is_lopsided(const ConvolutionSize& size) { return size.options.padding_before != size.options.padding_after; }

std::vector<ConvolutionSize> all_sizes() {
  std::vector<ConvolutionSize> sizes(std::begin(kSizes), std::end(kSizes));
  sizes.insert(sizes.end(), std::begin(kOddChannels), std::end(kOddChannels));
  return sizes;
}

/// |got - expected| within rounding: of sums in float32, and once of what is stored in bfloat16.
void expect_near(const Tensor& got, const Tensor& expected, const std::string& what, double relative = 4e-6) {
  const std::vector<double> values = got.to_doubles(), truth = expected.to_doubles();
  ASSERT_EQ(values.size(), truth.size()) << what;
  double largest = 1.0;
  for (const double value : truth) largest = std::max(largest, std::abs(value));
  const double rounding = got.dtype() == DType::bfloat16 ? 1.0 / 256 : 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_TRUE(std::abs(values[i] - truth[i]) <= rounding * std::abs(truth[i]) + relative * largest)
        << what << ", element " << i << ": " << values[i] << ", expected " << truth[i];
  }
}

double inner_product(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_doubles(), y = b.to_doubles();
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}

class Cudnn : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!device.backend().supports(GetParam())) GTEST_SKIP() << "this card has no " << name_of(GetParam());
  }
  /// The parameters of a forward pass on a backend; on the reference all is float32.
  ConvolutionForward forward(Backend& on, const ConvolutionSize& size) const {
    const bool truth = &on == reference.get();
    const DType maps = truth ? DType::float32 : GetParam();
    return {.x = map(on, size.input(), 1, maps),
            .weight = uniform(on, size.filter(), 2, -1, 1, maps),
            .y = Tensor(on, size.output(), maps),
            .options = size.options};
  }

  Device device;
  std::unique_ptr<Backend> reference = make_reference_backend();
};

TEST_P(Cudnn, ConvolvesAsTheReferenceDoesInEveryDirection) {
  for (const ConvolutionSize& size : all_sizes()) {
    const ConvolutionForward got = forward(device.backend(), size), expected = forward(*reference, size);
    ASSERT_TRUE(device.run(got)) << size.name();
    reference->convolution_forward(expected);
    expect_near(got.y, expected.y, size.name());

    const auto by_data = [&](Backend& on, DType maps) -> ConvolutionBackwardData {
      return {.dy = map(on, size.output(), 3, maps),
              .weight = uniform(on, size.filter(), 2, -1, 1, maps),
              .dx = Tensor(on, size.input(), maps),
              .options = size.options};
    };
    const auto got_data = by_data(device.backend(), GetParam()), expected_data = by_data(*reference, DType::float32);
    ASSERT_TRUE(device.run(got_data)) << size.name();
    reference->convolution_backward_data(expected_data);
    expect_near(got_data.dx, expected_data.dx, size.name() + " by data");

    const auto by_weights = [&](Backend& on, DType maps) -> ConvolutionBackwardWeights {
      return {.x = map(on, size.input(), 1, maps),
              .dy = map(on, size.output(), 3, maps),
              .d_weight = Tensor(on, size.filter(), maps),
              .options = size.options};
    };
    const auto got_weights = by_weights(device.backend(), GetParam());
    if (is_lopsided(size)) {
      EXPECT_FALSE(device.run(got_weights)) << size.name() << ": its sums would be wrong";
      continue;
    }
    const auto expected_weights = by_weights(*reference, DType::float32);
    ASSERT_TRUE(device.run(got_weights)) << size.name();
    reference->convolution_backward_weights(expected_weights);
    expect_near(got_weights.d_weight, expected_weights.d_weight, size.name() + " by weights");

    // <y, dy> = <x, dx> = <weight, d_weight>: no reference needed.
    const double product = inner_product(got.y, got_data.dy);
    const double allowed = (GetParam() == DType::bfloat16 ? 0.05 : 1e-4) * std::sqrt(size.flops());
    EXPECT_NEAR(inner_product(got.x, got_data.dx), product, allowed) << size.name();
    EXPECT_NEAR(inner_product(got.weight, got_weights.d_weight), product, allowed) << size.name();
  }
}

TEST_P(Cudnn, AddsBiasAndAddendAndRelusInTheSameGo) {
  for (const ConvolutionSize& size : all_sizes()) {
    for (const bool relu : {false, true}) {
      const auto call = [&](Backend& on) {
        ConvolutionForward inference = forward(on, size);
        inference.bias = uniform(on, {size.filters}, 5);
        inference.addend = map(on, size.output(), 6, inference.x.dtype());
        inference.relu = relu;
        return inference;
      };
      const ConvolutionForward got = call(device.backend()), expected = call(*reference);
      if (GetParam() == DType::bfloat16) {
        EXPECT_FALSE(device.run(got)) << size.name()
                                      << ": an engine would be compiled, which inference never waits for";
        continue;
      }
      ASSERT_TRUE(device.run(got)) << size.name();
      reference->convolution_forward(expected);
      expect_near(got.y, expected.y, size.name());
    }
  }
}

TEST_P(Cudnn, AddsToWhatTheOutputHolds) {
  const ConvolutionSize size = kSizes[2];
  const auto by_data = [&](Backend& on, DType maps) -> ConvolutionBackwardData {
    const Tensor dx = map(on, size.input(), 7, maps);
    return {.dy = map(on, size.output(), 3, maps),
            .weight = uniform(on, size.filter(), 2, -1, 1, maps),
            .addend = dx,
            .dx = dx,
            .options = size.options};
  };
  const auto got = by_data(device.backend(), GetParam()), expected = by_data(*reference, DType::float32);
  ASSERT_TRUE(device.run(got));
  reference->convolution_backward_data(expected);
  expect_near(got.dx, expected.dx, "by data");
}

INSTANTIATE_TEST_SUITE_P(Maps, Cudnn, testing::Values(DType::float32, DType::bfloat16),
                         [](const auto& info) { return std::string(name_of(info.param)); });

class CudnnBFloat16 : public testing::Test {
 protected:
  void SetUp() override {
    if (!device.backend().supports(DType::bfloat16)) GTEST_SKIP() << "this card has no bfloat16";
  }
  Device device;
  std::unique_ptr<Backend> reference = make_reference_backend();
};

TEST_F(CudnnBFloat16, NormalisesOnRead) {
  int taken = 0;
  for (const ConvolutionSize& size : kSizes) {
    const auto call = [&](Backend& on, DType maps) -> ConvolutionForward {
      return {.x = map(on, size.input(), 1, maps),
              .weight = uniform(on, size.filter(), 2, -1, 1, maps),
              .y = Tensor(on, size.output(), maps),
              .options = size.options,
              .input_batch_norm = coefficients(on, size.channels, 4)};
    };
    const ConvolutionForward got = call(device.backend(), DType::bfloat16);
    if (!device.run(got)) continue;  // versions of cuDNN differ in which of the odd sizes they compile an engine for
    ++taken;
    const ConvolutionForward expected = call(*reference, DType::float32);
    reference->convolution_forward(expected);
    // The normalised input is rounded to bfloat16 before it is multiplied.
    expect_near(got.y, expected.y, size.name(), 1.0 / 256);
  }
  EXPECT_GE(taken, 3);
}

TEST_F(CudnnBFloat16, LeavesStatisticsToOurOwnKernel) {
  const ConvolutionSize& size = kSizes[0];
  ConvolutionForward call{.x = map(device.backend(), size.input(), 1, DType::bfloat16),
                          .weight = uniform(device.backend(), size.filter(), 2, -1, 1, DType::bfloat16),
                          .y = Tensor(device.backend(), size.output(), DType::bfloat16),
                          .options = size.options};
  call.mean = call.variance = Tensor(device.backend(), {size.filters});
  EXPECT_FALSE(device.run(call));
}

TEST_F(CudnnBFloat16, GradientsOfFiltersAreNotRoundedWhenTheyAreFloat32) {
  for (const ConvolutionSize& size : kSizes) {
    const auto call = [&](Backend& on, DType maps) -> ConvolutionBackwardWeights {
      return {.x = map(on, size.input(), 1, maps),
              .dy = map(on, size.output(), 3, maps),
              .d_weight = Tensor(on, size.filter()),
              .options = size.options};
    };
    const auto got = call(device.backend(), DType::bfloat16), expected = call(*reference, DType::float32);
    const bool sound = !is_lopsided(size) && size.channels % 8 == 0 && size.filters % 8 == 0;
    ASSERT_EQ(device.run(got), sound) << size.name();
    if (!sound) continue;
    reference->convolution_backward_weights(expected);
    expect_near(got.d_weight, expected.d_weight, size.name());
  }
}

TEST_F(CudnnBFloat16, SaysWhereThereIsNoPlanAndDoesNothing) {
  const ConvolutionSize& size = kOddChannels[0];
  const ConvolutionBackwardWeights by_weights{.x = map(device.backend(), size.input(), 1, DType::bfloat16),
                                              .dy = map(device.backend(), size.output(), 3, DType::bfloat16),
                                              .d_weight = uniform(device.backend(), size.filter(), 4),
                                              .options = size.options};
  const std::vector<double> before = by_weights.d_weight.to_doubles();
  EXPECT_FALSE(device.run(by_weights));
  EXPECT_EQ(by_weights.d_weight.to_doubles(), before);
}

TEST(CudnnDescribe, TellsWhatIsFusedAndWhereMapsAreWidened) {
  Device device;
  if (!device.backend().supports(DType::bfloat16)) GTEST_SKIP() << "this card has no bfloat16";
  const auto described = [&](const ConvolutionSize& size, DType maps, const ConvolutionSettings& settings = {}) {
    return device.convolutions(settings).describe(size.input(), size.filter(), size.options, maps);
  };
  const auto mentions = [](const ConvolutionPlanText& plan, const char* words) {
    return plan.algorithm == "cuDNN" && plan.reason.find(words) != std::string::npos;
  };
  const char* const fused = " + batch norm and ReLU on read";
  const char* const widened = "from maps widened to float32";
  const auto narrow = described(kSizes[0], DType::bfloat16), stem = described(kOddChannels[0], DType::bfloat16);
  EXPECT_TRUE(mentions(narrow[0], fused)) << narrow[0].reason;
  EXPECT_FALSE(mentions(narrow[2], widened)) << narrow[2].reason;
  EXPECT_TRUE(mentions(stem[2], widened)) << stem[2].reason;
  EXPECT_FALSE(mentions(described(kSizes[0], DType::float32)[0], fused));
  EXPECT_FALSE(mentions(described(kSizes[0], DType::bfloat16, {.fuse = false})[0], fused));
}

/// Root mean square of the error over that of the truth.
double relative_error(const Tensor& got, const Tensor& expected) {
  const std::vector<double> values = got.to_doubles(), truth = expected.to_doubles();
  double error = 0, size = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    error += (values[i] - truth[i]) * (values[i] - truth[i]);
    size += truth[i] * truth[i];
  }
  return std::sqrt(error / size);
}

TEST(CudnnTf32, RoundsOperandsOnlyWhereItIsAskedFor) {
  Device device;
  const auto reference = make_reference_backend();
  const ConvolutionSize size{2, 8, 8, 32, 32, 3, 3, {1, 1, 1}};
  // primitive_cases::uniform's numbers are bfloat16's, which TF32 holds exactly: these need more bits.
  const auto call = [&](Backend& on) -> ConvolutionForward {
    const Random random(5, 1);
    std::vector<double> x(static_cast<std::size_t>(size.input().count())), weight(9 * 32 * 32);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = 2 * random.uniform(i) - 1;
    for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = 2 * random.uniform(x.size() + i) - 1;
    return {.x = Tensor::from_doubles(on, size.input(), x, DType::float32),
            .weight = Tensor::from_doubles(on, size.filter(), weight, DType::float32),
            .y = Tensor(on, size.output()),
            .options = size.options};
  };
  const ConvolutionForward expected = call(*reference), exact = call(device.backend()),
                           rounded = call(device.backend());
  reference->convolution_forward(expected);
  ASSERT_TRUE(device.convolutions({.strict = true}).run(exact));
  EXPECT_LT(relative_error(exact.y, expected.y), 1e-6);
  CudnnConvolutions with_tf32 = device.convolutions({.tf32 = true});
  ASSERT_TRUE(with_tf32.run(rounded));
  EXPECT_LT(relative_error(rounded.y, expected.y), 1e-3);
  const auto plan = with_tf32.describe(size.input(), size.filter(), size.options, DType::float32)[0];
  const bool rounds = plan.reason.find("tensor cores") != std::string::npos;
  EXPECT_TRUE(!rounds || relative_error(rounded.y, expected.y) > 1e-5) << "does TF32 change anything?";
}

TEST(CudnnFusion, IsForBFloat16AndCanBeTurnedOff) {
  Device device;
  const ConvolutionSize size = kSizes[0];
  const auto call = [&](DType maps) -> ConvolutionForward {
    return {.x = map(device.backend(), size.input(), 1, maps),
            .weight = uniform(device.backend(), size.filter(), 2, -1, 1, maps),
            .y = Tensor(device.backend(), size.output(), maps),
            .options = size.options,
            .input_batch_norm = coefficients(device.backend(), size.channels, 4)};
  };
  EXPECT_FALSE(device.run(call(DType::float32)));
  EXPECT_FALSE(device.convolutions({.fuse = false}).run(call(DType::bfloat16)));
}

}  // namespace
}  // namespace stagewise
