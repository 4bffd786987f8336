// The CUDA backend at the seam: every primitive, in float32 and bfloat16, against the reference, over the shapes of the
// CPU's tests. Runs on a GPU where there is one, else on the software GPU (tests/softgpu).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "cpu/reference_backend.h"
#include "cuda/cuda_backend.h"
#include "tests/adamw_checks.h"
#include "tests/average_checks.h"
#include "tests/draw_checks.h"
#include "tests/lacking.h"
#include "tests/primitive_cases.h"
#include "tests/stray_labels.h"

namespace stagewise {
namespace {

using primitive_cases::PrimitiveCase;
using primitive_cases::uniform;

/// One allocation a tensor, in its exact size: whoever watches the device's memory sees each tensor's end. All cases
/// share a backend, since a card takes longer to open one, and cuDNN to compile its plans, than to run a case.
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
    backend = make_cuda_backend({.direct_convolution = direct, .memory = CudaOptions::Memory::exact});
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
