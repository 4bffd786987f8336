// The CUDA backend at the seam: every primitive, in float32 and bfloat16, against the reference, over the shapes of the
// CPU's tests. Runs on a GPU where there is one, else on the software GPU (tests/softgpu).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "cpu/reference_backend.h"
#include "tests/adamw_checks.h"
#include "tests/average_checks.h"
#include "tests/cuda_memory.h"
#include "tests/draw_checks.h"
#include "tests/lacking.h"
#include "tests/primitive_cases.h"
#include "tests/stray_labels.h"

namespace stagewise {
namespace {

using primitive_cases::PrimitiveCase;
using primitive_cases::uniform;

/// All cases share a backend, since a card takes longer to open one, and cuDNN to compile its plans, than to run a case.
Backend& exact_backend(bool direct = false) {
  static std::unique_ptr<Backend> backends[2];
  class CloseBeforeTheDriver : public testing::Environment {
    void TearDown() override {
      for (std::unique_ptr<Backend>& backend : backends) backend.reset();
    }
  };
  std::unique_ptr<Backend>& backend = backends[direct ? 1 : 0];
  if (!backend) {
    static const auto* const closing = testing::AddGlobalTestEnvironment(new CloseBeforeTheDriver);
    (void)closing;
    backend = make_cuda_backend({.direct_convolution = direct, .memory = memory_of_tests()});
  }
  return *backend;
}

/// What is stored in bfloat16 has lost all but 8 bits; a fused call's parts store it once more between them. Sums over
/// such numbers are off by as much, relative to what they sum.
double tolerance(const PrimitiveCase& primitive, DType maps, DType output) {
  const double in_float = 4e-6 * std::sqrt(static_cast<double>(primitive.reduction) + 16.0);
  const bool parts =
      primitive.name.find("fused") != std::string::npos || primitive.name.find("inference") != std::string::npos;
  const bool rounds = maps == DType::bfloat16 && (output == DType::bfloat16 || parts);
  return rounds ? in_float + (parts ? 2.0 / 128 : 1.0 / 256) : in_float;
}

void expect_agreement(const PrimitiveCase& primitive, DType maps, bool direct = false) {
  const auto reference = make_reference_backend();
  Backend& cuda = exact_backend(direct);
  if (!cuda.supports(maps)) GTEST_SKIP() << "this card has no " << name_of(maps);
  const primitive_cases::Call expected = primitive.make(*reference, DType::float32), got = primitive.make(cuda, maps);
  expected.run();
  got.run();
  for (std::size_t i = 0; i < got.outputs.size(); ++i) {
    const std::vector<double> truth = expected.outputs[i].to_doubles(), values = got.outputs[i].to_doubles();
    double largest = 0.1;
    for (const double value : truth) largest = std::max(largest, std::abs(value));
    const double allowed = tolerance(primitive, maps, got.outputs[i].dtype()) * largest;
    for (std::size_t j = 0; j < truth.size(); ++j) {
      ASSERT_TRUE(std::abs(values[j] - truth[j]) <= allowed) << "output " << i << ", element " << j << ": " << values[j]
                                                             << ", expected " << truth[j] << " within " << allowed;
    }
  }
}

class CudaPrimitive : public testing::TestWithParam<PrimitiveCase> {};

TEST_P(CudaPrimitive, AgreesWithTheReference) { expect_agreement(GetParam(), DType::float32); }

TEST_P(CudaPrimitive, AgreesWithTheReferenceInBFloat16) { expect_agreement(GetParam(), DType::bfloat16); }

TEST_P(CudaPrimitive, GivesTheSameBitsAgain) {
  std::vector<std::vector<double>> first;
  for (int run = 0; run < 2; ++run) {
    const auto cuda = make_cuda_backend();
    const primitive_cases::Call call = GetParam().make(*cuda, DType::float32);
    call.run();
    for (std::size_t i = 0; i < call.outputs.size(); ++i) {
      if (run == 0) first.push_back(call.outputs[i].to_doubles());
      EXPECT_EQ(call.outputs[i].to_doubles(), first[i]) << "output " << i;
    }
  }
}

std::string case_name(const testing::TestParamInfo<PrimitiveCase>& info) {
  std::string name = info.param.name;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

TEST(CudaBackend, LacksNoPrimitive) { EXPECT_EQ(lacking(exact_backend()), std::set<std::string>()); }

TEST(CudaStrayLabels, AreDefinedAndTouchNothingOutside) { expect_defined_for_stray_labels(*make_cuda_backend()); }

INSTANTIATE_TEST_SUITE_P(Table, CudaPrimitive, testing::ValuesIn(primitive_cases::test_cases()), case_name);

/// Our direct convolutions, which stand behind cuDNN's.
class DirectConvolution : public testing::TestWithParam<PrimitiveCase> {};

TEST_P(DirectConvolution, AgreesWithTheReference) { expect_agreement(GetParam(), DType::float32, /*direct=*/true); }

TEST_P(DirectConvolution, AgreesWithTheReferenceInBFloat16) {
  expect_agreement(GetParam(), DType::bfloat16, /*direct=*/true);
}

INSTANTIATE_TEST_SUITE_P(Table, DirectConvolution,
                         testing::ValuesIn(primitive_cases::convolution_cases(primitive_cases::odd_convolutions())),
                         case_name);

TEST(Draws, AreTheHostsToTheBit) {
  expect_numbers<float>(exact_backend());
  expect_augmentation(exact_backend());
}

TEST(AdamW, IsPyTorchs) {
  expect_pytorchs_adamw<float>(exact_backend());
  expect_adamws_corrections(exact_backend());
}

TEST(AdamW, IsTheReferences) { expect_adamw_as_on_the_reference(exact_backend()); }

TEST(AdamW, CountsItsStepsAndTakesTheLearningRateWhenReplayed) {
  std::vector<std::vector<double>> values;
  for (const bool gpu : {false, true}) {
    const auto backend = gpu ? make_cuda_backend() : make_reference_backend();
    const auto full = [&](std::int64_t count, double value) { return Tensor::full(*backend, {count}, value); };
    const AdamWStep::Parameter parameter{full(19, 2), full(19, 0.5), full(19, 0), full(19, 0), full(1, 0), 0.25};
    const Tensor rate = full(1, 0.125);
    const auto work = [&] {
      const std::vector<AdamWStep::Parameter> parameters = {parameter};
      backend->adamw_step({.parameters = parameters, .rate = rate});
    };
    work();
    const auto recording = backend->record(work);  // does it once; the reference can't record
    if (!recording) work();
    for (const double next : {0.25, 0.5}) {
      backend->fill(rate, next);
      backend->fill(parameter.gradient, -next);
      if (recording) {
        recording->replay();
      } else {
        work();
      }
    }
    EXPECT_EQ(recording != nullptr, gpu);
    EXPECT_EQ(parameter.steps.to_doubles()[0], 4.0);
    values.push_back(parameter.value.to_doubles());
  }
  for (std::size_t i = 0; i < values[0].size(); ++i) EXPECT_NEAR(values[1][i], values[0][i], 4e-6);
}

/// A map of numbers uniform in [mean - spread, mean + spread], as far as `maps` can tell them apart.
Tensor round_a_mean(Backend& backend, const Shape& shape, double mean, double spread, DType maps) {
  const Random random(9, 1);
  std::vector<double> values(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = mean + spread * (2 * random.uniform(i) - 1);
  return Tensor::from_doubles(backend, shape, values, maps);
}

/// Mean and variance of each channel of a map [pixels, C], in double.
std::pair<std::vector<double>, std::vector<double>> moments_in_double(const Tensor& x) {
  const auto channels = static_cast<std::size_t>(x.shape().back());
  const std::vector<double> values = x.to_doubles();
  const double pixels = static_cast<double>(values.size() / channels);
  std::vector<double> mean(channels, 0.0), variance(channels, 0.0);
  for (std::size_t i = 0; i < values.size(); ++i) mean[i % channels] += values[i] / pixels;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double distance = values[i] - mean[i % channels];
    variance[i % channels] += distance * distance / pixels;
  }
  return {mean, variance};
}

/// What sums of x and x^2 in float32 make of it: its error grows with the square of the mean.
double variance_by_squares(const std::vector<double>& values, std::size_t channels) {
  float sum = 0.0F, squares = 0.0F;
  for (std::size_t i = 0; i < values.size(); i += channels) {
    const auto value = static_cast<float>(values[i]);
    sum += value;
    squares += value * value;
  }
  const float pixels = static_cast<float>(values.size() / channels), mean = sum / pixels;
  return static_cast<double>(squares / pixels - mean * mean);
}

/// Sums in float32 of n terms, in runs of at most 64 a thread, are off by at most about 80 roundings of what they sum.
/// What is summed for the moments are distances from a pixel of the run, so it is the spread of the values that counts
/// and not how far from zero they are, in float32 and bfloat16 alike: |error| <= 80 * 2^-24 * (largest distance)^2.
TEST(Moments, AreOffByTheRoundingOfTheSpreadWhateverTheMean) {
  constexpr double kRounding = 1.0 / (1 << 24), kRoundings = 80.0;
  Backend& cuda = exact_backend();
  for (const DType maps : {DType::float32, DType::bfloat16}) {
    if (!cuda.supports(maps)) continue;
    for (const double offset : {0.0, 1.0, 1e2, 1e4, 1e6}) {
      const double spread =
          std::max(1.0, offset * (maps == DType::bfloat16 ? 1.0 / 64 : 0.0));  // survives the rounding
      const Tensor x = round_a_mean(cuda, {2, 32, 32, 16}, offset, spread, maps);
      const Tensor mean(cuda, {16}), variance(cuda, {16});
      cuda.batch_norm_moments({.x = x, .mean = mean, .variance = variance});
      const auto [true_mean, true_variance] = moments_in_double(x);
      const std::vector<double> values = x.to_doubles(), got_mean = mean.to_doubles(), got = variance.to_doubles();
      const auto [low, high] = std::minmax_element(values.begin(), values.end());
      const double largest = std::max(*high - *low, 1e-30), allowed = kRoundings * kRounding * largest * largest;
      for (std::size_t c = 0; c < 16; ++c) {
        EXPECT_NEAR(got[c], true_variance[c], allowed) << name_of(maps) << ", offset " << offset;
        EXPECT_NEAR(got_mean[c], true_mean[c], kRounding * (std::abs(true_mean[c]) + kRoundings * largest));
      }
      const double by_squares = std::abs(variance_by_squares(values, 16) - true_variance[0]);
      EXPECT_TRUE(offset < 1e4 || by_squares > allowed) << "the test would not notice sums of squares at " << offset;
    }
  }
}

/// The worst pixel to measure from: the first of a run, a thousand times as far out as the others are spread.
TEST(Moments, AreOffByTheRoundingOfTheFirstPixelsDistanceWhereThatIsFarOut) {
  Backend& cuda = exact_backend();
  for (const double far : {10.0, 100.0, 1000.0}) {
    const Shape shape{1, 16, 16, 4};
    std::vector<double> values = round_a_mean(cuda, shape, 0.0, 1.0, DType::float32).to_doubles();
    for (std::size_t c = 0; c < 4; ++c) values[c] = far;
    const Tensor x = Tensor::from_doubles(cuda, shape, values, DType::float32), mean(cuda, {4}), variance(cuda, {4});
    cuda.batch_norm_moments({.x = x, .mean = mean, .variance = variance});
    const auto [true_mean, true_variance] = moments_in_double(x);
    for (std::size_t c = 0; c < 4; ++c) {
      EXPECT_NEAR(variance.to_doubles()[c], true_variance[c], 80.0 / (1 << 24) * (far + 1) * (far + 1)) << far;
    }
  }
}

TEST(Average, IsTheHostsToTheBit) { expect_averages<float>(exact_backend()); }

TEST(Average, CanBeRecorded) {
  const auto cuda = make_cuda_backend();
  const AverageStep::Parameter parameter{Tensor::full(*cuda, {19}, 0.0), Tensor::full(*cuda, {19}, 8.0)};
  // The span is gone when the recording is replayed, the tensors are not.
  const auto work = [&] {
    const std::vector<AverageStep::Parameter> parameters = {parameter};
    cuda->average_step({.parameters = parameters, .decay = 0.5});
  };
  work();
  const auto recording = cuda->record(work);
  EXPECT_EQ(parameter.average.to_host<float>(), std::vector<float>(19, 6.0F));
  cuda->fill(parameter.value, 16.0);
  recording->replay();
  recording->replay();
  EXPECT_EQ(parameter.average.to_host<float>(), std::vector<float>(19, 13.5F));  // 6, 11, 13.5
}

TEST(GuardBytes, StandRoundEveryTensorOnTheDevice) {
  const auto cuda = make_cuda_backend({.memory = CudaOptions::Memory::guarded});
  for (const PrimitiveCase& primitive : primitive_cases::batch_norm_cases({2, 7, 5, 17})) {
    primitive.make(*cuda, DType::float32).run();
  }
  EXPECT_EQ(cuda->allocator().statistics().guard_violations, 0);
  // A buffer that is said to be shorter than it is has its own bytes where the guard should stand.
  void* const buffer = cuda->allocator().allocate(100);
  cuda->allocator().deallocate(buffer, 96);
  EXPECT_EQ(cuda->allocator().statistics().guard_violations, 1);
}

TEST(Recording, RepeatsItsWorkOnMemoryThatNobodyElseGets) {
  const auto cuda = make_cuda_backend();
  ASSERT_TRUE(cuda->can_record());
  const Shape shape{1000};
  const Tensor x = Tensor::zeros(*cuda, shape), step = Tensor::full(*cuda, shape, 1.0);
  const auto work = [&] {  // x = (x + step) + step, by way of a tensor that is gone when the work is done
    const Tensor between(*cuda, shape);
    cuda->add(x, step, between);
    cuda->add(between, step, x);
  };
  work();
  const auto recording = cuda->record(work);
  EXPECT_EQ(x.to_host<float>()[999], 4.0F) << "recording does the work once";
  const Tensor other = Tensor::full(*cuda, shape, 7.0);  // the buffer of `between`, were it free
  recording->replay();
  cuda->fill(step, 10.0);
  recording->replay();
  EXPECT_EQ(x.to_host<float>(), std::vector<float>(1000, 26.0F));
  EXPECT_EQ(other.to_host<float>(), std::vector<float>(1000, 7.0F));
}

TEST(Recording, TakesTheLearningRateFromATensor) {
  for (const bool gpu : {true, false}) {
    const auto backend = gpu ? make_cuda_backend() : make_reference_backend();
    const auto full = [&](double value) { return Tensor::full(*backend, {19}, value); };
    const SgdStep::Parameter parameter{full(2.0), full(0.5), full(0.0), 0.0};
    backend->sgd_step({.parameters = {&parameter, 1}, .rate = Tensor::full(*backend, {1}, 0.5), .momentum = 0.0});
    EXPECT_EQ(parameter.value.to_host<float>(), std::vector<float>(19, 1.75F)) << backend->name();
  }
}

}  // namespace
}  // namespace stagewise
