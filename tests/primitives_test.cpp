// The seam itself: the reference backend against closed forms and identities, the fast one against the reference, for
// the primitives and fusions that the op table doesn't reach.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>

#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "tensor/random.h"
#include "tests/adamw_checks.h"
#include "tests/average_checks.h"
#include "tests/draw_checks.h"
#include "tests/primitive_cases.h"
#include "tests/stray_labels.h"

namespace stagewise {
namespace {

using primitive_cases::coefficients;
using primitive_cases::ConvolutionSize;
using primitive_cases::PrimitiveCase;
using primitive_cases::uniform;

/// Every backend of this machine, guarded: the reference first, then the CPU's instruction sets.
std::vector<std::unique_ptr<Backend>> all_backends() {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(make_reference_backend(true));
  for (const std::string& set : cpu_instruction_sets()) {
    backends.push_back(make_cpu_backend({.threads = 2, .instruction_set = set, .guarded = true}));
  }
  return backends;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  double largest = 0.1;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_TRUE(std::abs(got[i] - expected[i]) <= tolerance * largest)
        << what << ", element " << i << ": " << got[i] << ", expected " << expected[i];
  }
}

/// Runs `call` on every backend and compares the tensors it returns with the reference's.
template <class Call>
void expect_all_backends_agree(const Call& call, double tolerance = 2e-5) {
  std::vector<std::vector<double>> expected;
  for (const auto& backend : all_backends()) {
    {
      const std::vector<Tensor> outputs = call(*backend);
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        const std::vector<double> values = outputs[i].to_doubles();
        if (expected.size() == i) expected.push_back(values);
        expect_near(values, expected[i], tolerance, concat(backend->description(), ", output ", i));
      }
    }
    EXPECT_EQ(backend->allocator().statistics().guard_violations, 0) << backend->description();
  }
}

double inner_product(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_doubles(), y = b.to_doubles();
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}

/// What the benches divide by: every product of a filter's weight with a pixel, and none with the padding.
TEST(ConvolutionSize, CountsTheProductsWithPixelsAlone) {
  for (const ConvolutionSize& size :
       {ConvolutionSize{2, 8, 8, 3, 5, 3, 3, {1, 1, 1}}, ConvolutionSize{1, 9, 7, 1, 2, 3, 3, {2, 0, 1}},
        ConvolutionSize{3, 4, 6, 2, 2, 1, 1, {2, 0, 0}}, ConvolutionSize{1, 2, 2, 1, 1, 5, 5, {1, 2, 2}}}) {
    const Shape y = size.output();
    std::int64_t products = 0;
    for (std::int64_t p = 0; p < y[1]; ++p) {
      for (std::int64_t q = 0; q < y[2]; ++q) {
        for (std::int64_t r = 0; r < size.rows; ++r) {
          for (std::int64_t s = 0; s < size.columns; ++s) {
            const std::int64_t h = p * size.options.stride + r - size.options.padding_before;
            const std::int64_t w = q * size.options.stride + s - size.options.padding_before;
            products += h >= 0 && h < size.height && w >= 0 && w < size.width ? 1 : 0;
          }
        }
      }
    }
    products *= size.images * size.filters * size.channels;
    EXPECT_EQ(size.flops(), 2.0 * static_cast<double>(products)) << size.name();
  }
}

TEST(ReferenceConvolution, IsTheSumOverTheWindowWrittenOutByHand) {
  const auto backend = make_reference_backend(true);
  // A 3x3 image 1..9 under the filter [[1,2],[3,4]], without padding: 1*1+2*2+4*3+5*4 = 37, ...
  const Tensor x = Tensor::from_host(*backend, {1, 3, 3, 1}, std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  const Tensor weight = Tensor::from_host(*backend, {1, 2, 2, 1}, std::vector<float>{1, 2, 3, 4});
  const Tensor bias = Tensor::from_host(*backend, {1}, std::vector<float>{100});
  const Tensor y(*backend, {1, 2, 2, 1});
  backend->convolution_forward({.x = x, .weight = weight, .bias = bias, .y = y});
  EXPECT_EQ(y.to_host<float>(), (std::vector<float>{137, 147, 167, 177}));
  // Stride 2 with one row and column of zeros after: only the corner pixels start a window.
  const Tensor strided(*backend, {1, 2, 2, 1});
  backend->convolution_forward({.x = x, .weight = weight, .y = strided, .options = {2, 0, 1}});
  EXPECT_EQ(strided.to_host<float>(), (std::vector<float>{37, 3 + 18, 7 + 16, 9}));
}

TEST(ReferenceConvolution, ItsGradientsAreItsAdjoints) {
  const auto backend = make_reference_backend();
  for (const Conv2dOptions& options : {Conv2dOptions{1, 1, 1}, Conv2dOptions{2, 0, 1}, Conv2dOptions{3, 2, 0}}) {
    const auto doubles = [&](const Shape& shape, std::uint64_t stream) {
      return Tensor::from_host(*backend, shape, uniform(*backend, shape, stream).to_doubles());
    };
    const Tensor x = doubles({2, 7, 8, 3}, 1), weight = doubles({4, 3, 3, 3}, 2);
    const Shape out{2, options.output_size(7, 3), options.output_size(8, 3), 4};
    const Tensor dy = doubles(out, 3), y(*backend, out, DType::float64);
    const Tensor dx(*backend, x.shape(), DType::float64), d_weight(*backend, weight.shape(), DType::float64);
    backend->convolution_forward({.x = x, .weight = weight, .y = y, .options = options});
    backend->convolution_backward_data({.dy = dy, .weight = weight, .dx = dx, .options = options});
    backend->convolution_backward_weights({.x = x, .dy = dy, .d_weight = d_weight, .options = options});
    EXPECT_NEAR(inner_product(y, dy), inner_product(x, dx), 1e-10);
    EXPECT_NEAR(inner_product(y, dy), inner_product(weight, d_weight), 1e-10);
  }
}

class Primitive : public testing::TestWithParam<PrimitiveCase> {};

/// Runs the case with feature maps of `maps` on every instruction set, and on the reference with float32.
void expect_agreement(const PrimitiveCase& primitive, DType maps) {
  // Rounding errors of a sum grow like the square root of its length; Winograd's transforms multiply them by ten.
  const double tolerance = 4e-6 * std::sqrt(static_cast<double>(primitive.reduction) + 16.0);
  std::vector<std::vector<double>> expected;
  for (const auto& backend : all_backends()) {
    const bool truth = expected.empty();
    {
      const primitive_cases::Call call = primitive.make(*backend, truth ? DType::float32 : maps);
      call.run();
      for (std::size_t i = 0; i < call.outputs.size(); ++i) {
        std::vector<double> values = call.outputs[i].to_doubles();
        if (truth) {
          expected.push_back(values);
          continue;
        }
        // What is stored in bfloat16 may have been rounded once, at the end; what is summed must not have been at all.
        const double rounding = call.outputs[i].dtype() == DType::bfloat16 ? 1.0 / 256 : 0.0;
        for (std::size_t j = 0; j < values.size(); ++j) {
          const double off = values[j] - expected[i][j], allowed = rounding * std::abs(expected[i][j]);
          values[j] = expected[i][j] + std::copysign(std::max(0.0, std::abs(off) - allowed), off);
        }
        expect_near(values, expected[i], tolerance, concat(backend->description(), ", output ", i));
      }
    }
    EXPECT_EQ(backend->allocator().statistics().guard_violations, 0) << backend->description();
  }
}

TEST_P(Primitive, AgreesWithTheReferenceOnEveryInstructionSet) { expect_agreement(GetParam(), DType::float32); }

TEST_P(Primitive, StoredInBFloat16ItIsRoundedOnceAtTheEnd) { expect_agreement(GetParam(), DType::bfloat16); }

TEST_P(Primitive, StoredInBFloat16TheNumberOfThreadsDoesNotChangeABit) {
  std::vector<std::vector<double>> one;
  for (const int threads : {1, 2, 3}) {
    const auto backend = make_cpu_backend({.threads = threads});
    const primitive_cases::Call call = GetParam().make(*backend, DType::bfloat16);
    call.run();
    for (std::size_t i = 0; i < call.outputs.size(); ++i) {
      if (threads == 1) one.push_back(call.outputs[i].to_doubles());
      EXPECT_EQ(call.outputs[i].to_doubles(), one[i]) << threads << " threads, output " << i;
    }
  }
}

std::string test_name(const testing::TestParamInfo<PrimitiveCase>& info) {
  std::string name = info.param.name;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Table, Primitive, testing::ValuesIn(primitive_cases::test_cases()), test_name);

INSTANTIATE_TEST_SUITE_P(LargeFilters, Primitive,
                         testing::ValuesIn(primitive_cases::convolution_cases(primitive_cases::large_filters())),
                         test_name);

/// More images than are laid out at once for a large filter, directly and for Winograd's: the gradient is the sum of
/// theirs.
TEST(LargeFilter, ItsGradientIsThatOfAllImagesHoweverManyFitAtOnce) {
  for (const ConvolutionSize& size :
       {ConvolutionSize{6, 30, 30, 520, 530, 1, 1, {1, 0, 0}}, ConvolutionSize{4, 56, 60, 170, 177, 3, 3, {1, 1, 1}}}) {
    for (const std::string& set : cpu_instruction_sets()) {
      const auto backend = make_cpu_backend({.instruction_set = set});
      const auto gradient = [&](std::int64_t first, std::int64_t images) {
        const auto some = [&](Shape shape, std::uint64_t stream) {
          const std::int64_t image = shape.count() / shape[0];
          const std::vector<float> all = uniform(*backend, shape, stream).to_host<float>();
          const auto at = all.begin() + first * image;
          return Tensor::from_host(*backend, {images, shape[1], shape[2], shape[3]},
                                   std::vector<float>(at, at + images * image));
        };
        const Tensor d_weight(*backend, size.filter());
        backend->convolution_backward_weights(
            {.x = some(size.input(), 1), .dy = some(size.output(), 2), .d_weight = d_weight, .options = size.options});
        return d_weight.to_doubles();
      };
      const std::vector<double> all = gradient(0, size.images), rest = gradient(2, size.images - 2);
      std::vector<double> sum = gradient(0, 2);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += rest[i];
      expect_near(all, sum, 1e-4, concat(set, ", ", size.name()));
    }
  }
}

/// Root mean square of the difference over that of the truth, for a convolution in all three directions.
std::vector<double> convolution_errors(Backend& backend, std::int64_t stride) {
  const primitive_cases::ConvolutionSize size{2, 16, 16, 64, 64, 3, 3, {stride, 1, 1}};
  const auto reference = make_reference_backend();
  std::vector<double> errors;
  for (const PrimitiveCase& primitive : primitive_cases::convolution_cases({size})) {
    if (primitive.name.find("fused") != std::string::npos || primitive.name.find("inference") != std::string::npos) {
      continue;
    }
    const auto values = [&](Backend& on) {
      const primitive_cases::Call call = primitive.make(on, DType::float32);
      call.run();
      return call.outputs[0].to_doubles();
    };
    const std::vector<double> got = values(backend), truth = values(*reference);
    double difference = 0, square = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      difference += (got[i] - truth[i]) * (got[i] - truth[i]);
      square += truth[i] * truth[i];
    }
    errors.push_back(std::sqrt(difference / square));
  }
  return errors;
}

/// At stride 2 all factors of the transforms are 1, so Winograd loses next to nothing there.
TEST(StrictConvolution, IsMoreExactThanWinogradInAllThreeDirections) {
  for (const std::string& set : cpu_instruction_sets()) {
    for (const std::int64_t stride : {1, 2}) {
      const auto direct =
          convolution_errors(*make_cpu_backend({.instruction_set = set, .strict_convolution = true}), stride);
      const auto winograd = convolution_errors(*make_cpu_backend({.instruction_set = set}), stride);
      for (std::size_t i = 0; i < direct.size(); ++i) {
        const std::string where = concat(set, ", stride ", stride, ", direction ", i);
        EXPECT_LT(direct[i], 5e-7) << where;
        EXPECT_LT(winograd[i], stride == 1 ? 5e-6 : 5e-7) << where;
        EXPECT_NE(winograd[i], direct[i]) << where << ": does the strict mode change anything?";
        EXPECT_TRUE(stride == 2 || winograd[i] > direct[i]) << where;
      }
    }
  }
}

TEST(FusedConvolution, ByDataMasksAddsAndGathersTheBatchNormsGradients) {
  for (const std::int64_t stride : {1, 2}) {
    expect_all_backends_agree([&](Backend& backend) -> std::vector<Tensor> {
      const Shape in{3, 9, 8, 17}, out{3, (9 + stride - 1) / stride, (8 + stride - 1) / stride, 5};
      const Tensor dx = uniform(backend, in, 6);  // the addend is overwritten in place
      const BatchNormGradients gradients{Tensor(backend, {17}), Tensor(backend, {17})};
      backend.convolution_backward_data({.dy = uniform(backend, out, 1),
                                         .weight = uniform(backend, {5, 3, 3, 17}, 2),
                                         .addend = dx,
                                         .dx = dx,
                                         .options = {stride, 1, 1},
                                         .x = uniform(backend, in, 3),
                                         .input_batch_norm = coefficients(backend, 17, 10),
                                         .gradients = gradients});
      return {dx, gradients.weight, gradients.bias};
    });
  }
}

TEST(BatchNorm, MomentsAreSoundWhereTheMeanIsTenThousandDeviations) {
  for (const auto& backend : all_backends()) {
    std::vector<float> values(2 * 40 * 40 * 3);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = 10000.0F + ((i / 3) % 2 == 0 ? 1.0F : -1.0F);
    const Tensor mean(*backend, {3}), variance(*backend, {3});
    backend->batch_norm_moments(
        {.x = Tensor::from_host(*backend, {2, 40, 40, 3}, values), .mean = mean, .variance = variance});
    expect_near(mean.to_doubles(), {10000, 10000, 10000}, 1e-7, backend->description());
    expect_near(variance.to_doubles(), {1, 1, 1}, 1e-6, backend->description());
  }
}

TEST(Relu, DoesNotHideANotANumber) {
  for (const auto& backend : all_backends()) {
    std::vector<float> values(35, -1.0F);
    values[0] = values[34] = std::numeric_limits<float>::quiet_NaN();
    const Tensor x = Tensor::from_host(*backend, {1, 5, 1, 7}, values), y(*backend, x.shape());
    backend->relu_forward(x, y);
    const BatchNormCoefficients by{Tensor::zeros(*backend, {7}), Tensor::full(*backend, {7}, 1.0),
                                   Tensor::full(*backend, {7}, 1.0), Tensor::zeros(*backend, {7})};
    const Tensor normalised(*backend, x.shape());
    backend->batch_norm_forward({.x = x, .batch_norm = by, .relu = true, .y = normalised});
    for (const Tensor& out : {y, normalised}) {
      const auto result = out.to_host<float>();
      EXPECT_TRUE(std::isnan(result[0]) && std::isnan(result[34])) << backend->description();
      EXPECT_EQ(result[1], 0.0F);
    }
  }
}

TEST(BatchNorm, PrepareGivesScalesAndMovesTheRunningStatisticsByTheUnbiasedVariance) {
  for (const auto& backend : all_backends()) {
    const auto one = [&](float value) { return Tensor::from_host(*backend, {1}, std::vector<float>{value}); };
    BatchNormPrepare call{.mean = one(2), .variance = one(3), .weight = one(5), .epsilon = 1.0};
    call.inverse_deviation = one(0), call.scale = one(0);
    call.running_mean = one(1), call.running_variance = one(1);
    call.momentum = 0.5;
    call.pixels = 4;
    backend->batch_norm_prepare(call);
    EXPECT_FLOAT_EQ(call.inverse_deviation.to_host<float>()[0], 0.5F);
    EXPECT_FLOAT_EQ(call.scale.to_host<float>()[0], 2.5F);
    EXPECT_FLOAT_EQ(call.running_mean.to_host<float>()[0], 1.5F);
    EXPECT_FLOAT_EQ(call.running_variance.to_host<float>()[0], 2.5F);  // halfway from 1 to 3 * 4/3
  }
}

TEST(Sgd, TakesTwoStepsAsTheFormulaSays) {
  for (const auto& backend : all_backends()) {
    const auto filled = [&](double value) { return Tensor::full(*backend, {19}, value); };
    for (const bool nesterov : {false, true}) {
      const SgdStep::Parameter parameter{filled(2.0), filled(0.5), filled(0.0), 0.1};
      const SgdStep step{.parameters = {&parameter, 1}, .learning_rate = 0.1, .momentum = 0.9, .nesterov = nesterov};
      double weight = 2.0, velocity = 0.0;
      for (int i = 0; i < 2; ++i) {
        backend->sgd_step(step);
        const double gradient = 0.5 + 0.1 * weight;
        velocity = 0.9 * velocity + gradient;
        weight -= 0.1 * (nesterov ? gradient + 0.9 * velocity : velocity);
      }
      expect_near(parameter.value.to_doubles(), std::vector<double>(19, weight), 1e-6, backend->description());
      expect_near(parameter.velocity.to_doubles(), std::vector<double>(19, velocity), 1e-6, backend->description());
    }
  }
}

TEST(AdamW, IsPyTorchsOnEveryBackend) {
  for (const auto& backend : all_backends()) {
    expect_pytorchs_adamw<float>(*backend);
    if (backend->supports(DType::float64)) expect_pytorchs_adamw<double>(*backend);
    expect_adamws_corrections(*backend);
    EXPECT_EQ(backend->allocator().statistics().guard_violations, 0) << backend->description();
  }
}

TEST(AdamW, IsTheReferencesOnEveryInstructionSet) {
  for (const auto& backend : all_backends()) {
    expect_adamw_as_on_the_reference(*backend);
    EXPECT_EQ(backend->allocator().statistics().guard_violations, 0) << backend->description();
  }
}

TEST(Average, IsItsFormulaToTheBitOnEveryBackend) {
  for (const auto& backend : all_backends()) {
    expect_averages<float>(*backend);
    if (backend->supports(DType::float64)) expect_averages<double>(*backend);
    EXPECT_EQ(backend->allocator().statistics().guard_violations, 0) << backend->description();
  }
}

TEST(Average, TendsToAConstantAsTheGeometricSeriesSays) {
  for (const auto& backend : all_backends()) {
    const AverageStep::Parameter parameter{Tensor::full(*backend, {35}, 1.0), Tensor::full(*backend, {35}, 3.0)};
    for (int step = 0; step < 10; ++step) backend->average_step({.parameters = {&parameter, 1}, .decay = 0.8});
    expect_near(parameter.average.to_doubles(), std::vector<double>(35, 3.0 - 2.0 * std::pow(0.8, 10)), 1e-6,
                backend->description());
  }
}

TEST(Augment, ShiftsFlipsReflectsAndNormalises) {
  for (const auto& backend : all_backends()) {
    // One 2x3 image of one channel: rows 1 2 3 and 4 5 6.
    const Tensor images = Tensor::from_host(*backend, {1, 2, 3, 1}, std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6});
    const std::vector<std::int32_t> draws = {0, 0, 0, 0, 0,  0,  0, 0, 0, 1, 0, 0, 0, 1, 1,
                                             0, 0, 0, 0, -1, -2, 0, 0, 0, 0, 0, 1, 1, 0, 0};
    const Tensor x(*backend, {5, 2, 3, 1});
    backend->augment({.images = images,
                      .draws = Tensor::from_host(*backend, {5, 6}, draws),
                      .scale = Tensor::full(*backend, {1}, 2.0),
                      .offset = Tensor::full(*backend, {2, 3, 1}, 1.0),
                      .x = x});
    std::vector<float> expected;
    for (const int pixel : {1, 2, 3, 4, 5, 6,     // as it is
                            3, 2, 1, 6, 5, 4,     // flipped
                            5, 6, 5, 2, 3, 2,     // down and right by one: row 2 is row 0, column 3 is column 1
                            6, 5, 4, 3, 2, 1,     // up by one, left by two: column -2 is column 2
                            2, 3, 2, 5, 6, 5}) {  // flipped, then shifted in the image: columns 3, 2, 1
      expected.push_back(2.0F * static_cast<float>(pixel) - 1.0F);
    }
    EXPECT_EQ(x.to_host<float>(), expected) << backend->description();
  }
}

TEST(Augment, CutsASquareOutOfTheImageAndClipsItAtTheEdges) {
  for (const auto& backend : all_backends()) {
    for (const DType maps : {DType::float32, DType::bfloat16}) {
      if (!backend->supports(maps)) continue;
      // 5x7 images whose pixels are all 3 - 1 = 2: what isn't cut out stays, whichever way the image lies.
      const Tensor images = Tensor::full(*backend, {1, 5, 7, 3}, 3.0, DType::uint8);
      const std::vector<std::pair<int, int>> starts = {{1, 2}, {-2, -1}, {3, 6}, {-3, 0}, {0, 7}};
      for (const std::int64_t cutout : {0, 1, 3, 20}) {
        std::vector<std::int32_t> draws;
        for (const auto& [top, left] : starts) draws.insert(draws.end(), {0, 0, 0, top % 2 == 0 ? 0 : 1, top, left});
        const Tensor x(*backend, {5, 5, 7, 3}, maps);
        backend->augment({.images = images,
                          .draws = Tensor::from_host(*backend, {5, 6}, draws),
                          .scale = Tensor::full(*backend, {3}, 1.0),
                          .offset = Tensor::full(*backend, {5, 7, 3}, 1.0),
                          .x = x,
                          .cutout = cutout});
        std::vector<double> expected;
        for (const auto& [top, left] : starts) {
          for (int pixel = 0; pixel < 35; ++pixel) {
            const int down = pixel / 7 - top, right = pixel % 7 - left;
            const bool cut = down >= 0 && right >= 0 && std::max(down, right) < cutout;
            expected.insert(expected.end(), 3, cut ? 0.0 : 2.0);
          }
        }
        EXPECT_EQ(x.to_doubles(), expected) << backend->description() << ", " << name_of(maps) << ", " << cutout;
      }
    }
  }
}

TEST(Augment, BackendsAgreeOnColourImages) {
  expect_all_backends_agree([](Backend& backend) -> std::vector<Tensor> {
    std::vector<std::uint8_t> pixels(4 * 11 * 13 * 3);
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(Random(1).bits(i));
    std::vector<std::int32_t> draws;
    for (std::uint64_t i = 0; i < 20; ++i) {
      const auto shift = [&](std::uint64_t at) { return static_cast<std::int32_t>(Random(2).below(at, 9)) - 4; };
      draws.insert(draws.end(), {static_cast<std::int32_t>(i % 4), shift(2 * i), shift(2 * i + 1), i % 3 == 0 ? 1 : 0,
                                 3 * shift(3 * i), 3 * shift(3 * i + 1)});
    }
    const Tensor x(backend, {20, 11, 13, 3});
    backend.augment({.images = Tensor::from_host(backend, {4, 11, 13, 3}, pixels),
                     .draws = Tensor::from_host(backend, {20, 6}, draws),
                     .scale = uniform(backend, {3}, 1),
                     .offset = uniform(backend, {11, 13, 3}, 2),
                     .x = x,
                     .cutout = 5});
    return {x};
  });
}

TEST(Draws, AreTheGeneratorsNumbersOnEveryBackend) {
  for (const auto& backend : all_backends()) {
    expect_numbers<float>(*backend);
    expect_augmentation(*backend);
    if (backend->supports(DType::float64)) expect_numbers<double>(*backend);
    EXPECT_EQ(backend->allocator().statistics().guard_violations, 0) << backend->description();
  }
}

TEST(Softmax, SumsToOneAndStandsLargeLogits) {
  for (const auto& backend : all_backends()) {
    const Tensor logits = Tensor::from_host(*backend, {2, 2}, std::vector<float>{10000, 9999, -10000, -10000});
    const Tensor probabilities(*backend, {2, 2});
    backend->softmax(logits, probabilities);
    const double e = std::exp(1.0);
    expect_near(probabilities.to_doubles(), {e / (1 + e), 1 / (1 + e), 0.5, 0.5}, 1e-6, backend->description());
  }
}

TEST(SoftmaxCrossEntropy, IsItsClosedFormAndAddsUpTotals) {
  for (const auto& backend : all_backends()) {
    const Tensor logits =
        Tensor::from_host(*backend, {2, 2}, std::vector<float>{0, static_cast<float>(std::log(3.0)), 1, 0});
    const Tensor labels = Tensor::from_host(*backend, {2}, std::vector<std::int32_t>{1, 1});
    const Tensor loss(*backend, {1}), d_logits(*backend, {2, 2});
    const Tensor totals = Tensor::from_host(*backend, {2}, std::vector<double>{10, 20});
    const double smoothing = 0.2, p = 1 / (1 + std::exp(1.0));  // p: of class 1 in the second image
    backend->softmax_cross_entropy({logits, labels, smoothing, loss, d_logits, totals});
    // Targets 0.1 and 0.9; probabilities 1/4, 3/4 and 1-p, p.
    const double first = -0.1 * std::log(0.25) - 0.9 * std::log(0.75),
                 second = -0.1 * std::log(1 - p) - 0.9 * std::log(p);
    expect_near(loss.to_doubles(), {(first + second) / 2}, 1e-6, backend->description());
    expect_near(d_logits.to_doubles(), {0.075, -0.075, (1 - p - 0.1) / 2, (p - 0.9) / 2}, 1e-6, backend->description());
    expect_near(totals.to_doubles(), {10 + first + second, 21}, 1e-6, backend->description());
  }
}

TEST(SoftmaxCrossEntropy, ALossThatIsNotANumberStaysOne) {
  for (const auto& backend : all_backends()) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const Tensor loss(*backend, {1});
    backend->softmax_cross_entropy({.logits = Tensor::from_host(*backend, {1, 3}, std::vector<float>{nan, 0, 1}),
                                    .labels = Tensor::from_host(*backend, {1}, std::vector<std::int32_t>{1}),
                                    .loss = loss});
    EXPECT_TRUE(std::isnan(loss.to_host<float>()[0])) << backend->description();
  }
}

TEST(StrayLabels, AreDefinedAndTouchNothingOutside) {
  for (const auto& backend : all_backends()) {
    expect_defined_for_stray_labels(*backend);
    EXPECT_EQ(backend->allocator().statistics().guard_violations, 0) << backend->description();
  }
}

TEST(AveragePool, LeavesOutRowsAndColumnsThatDontFillAWindow) {
  for (const auto& backend : all_backends()) {
    std::vector<float> values(15);
    std::iota(values.begin(), values.end(), 0.0F);  // 3 rows of 5
    const Tensor x = Tensor::from_host(*backend, {1, 3, 5, 1}, values), y(*backend, {1, 1, 2, 1});
    backend->average_pool_forward({x, y, 2, 2});
    EXPECT_EQ(y.to_host<float>(), (std::vector<float>{3, 5}));
    backend->average_pool_backward({x, Tensor::from_host(*backend, {1, 1, 2, 1}, std::vector<float>{4, 8}), 2, 2});
    EXPECT_EQ(x.to_host<float>(), (std::vector<float>{1, 1, 2, 2, 0, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0}));
  }
}

TEST(MaxPool, TakesTheFirstOfEqualsIgnoresPaddingAndPassesNaNOn) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const auto& backend : all_backends()) {
    const Tensor x = Tensor::from_host(*backend, {1, 3, 4, 1},
                                       std::vector<float>{-5, -5, -9, -2,  //
                                                          -5, -7, -9, -2,  //
                                                          -8, -8, nan, -3});
    const Tensor y(*backend, {1, 2, 2, 1}), dx(*backend, {1, 3, 4, 1});
    backend->max_pool_forward({.x = x, .y = y, .window = 3, .options = {2, 1, 1}});
    const std::vector<double> largest = y.to_doubles();
    EXPECT_EQ(largest[0], -5.0);
    EXPECT_EQ(largest[1], -2.0);
    EXPECT_EQ(largest[2], -5.0);
    EXPECT_TRUE(std::isnan(largest[3]));
    const Tensor dy = Tensor::from_host(*backend, {1, 2, 2, 1}, std::vector<float>{1, 10, 100, 1000});
    backend->max_pool_backward({.x = x, .dy = dy, .dx = dx, .window = 3, .options = {2, 1, 1}});
    EXPECT_EQ(dx.to_doubles(), (std::vector<double>{1, 0, 0, 10, 100, 0, 0, 0, 0, 0, 1000, 0}));
  }
}

TEST(PaddedShortcut, TakesEverySecondPixelAndPutsZerosRoundItsChannels) {
  for (const auto& backend : all_backends()) {
    const Tensor x = Tensor::from_host(*backend, {1, 3, 3, 1}, std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9});
    const Tensor y(*backend, {1, 2, 2, 3}), dx(*backend, {1, 3, 3, 1});
    backend->padded_shortcut_forward({.x = x, .y = y, .stride = 2, .zeros_before = 1});
    EXPECT_EQ(y.to_doubles(), (std::vector<double>{0, 1, 0, 0, 3, 0, 0, 7, 0, 0, 9, 0}));
    backend->padded_shortcut_backward({.x = dx, .y = y, .stride = 2, .zeros_before = 1});
    EXPECT_EQ(dx.to_doubles(), (std::vector<double>{1, 0, 3, 0, 0, 0, 7, 0, 9}));
  }
}

TEST(AccumulateMoments, AddsSumsProductsAndClassSums) {
  for (const auto& backend : all_backends()) {
    const std::int64_t images = 7, features = 19, classes = 3;
    const Tensor x = uniform(*backend, {images, features}, 1);
    const std::vector<std::int32_t> labels = {0, 1, 2, 0, 1, 0, 0};
    const auto zeros = [&](const Shape& shape) { return Tensor::zeros(*backend, shape, DType::float64); };
    const AccumulateMoments call{x,
                                 Tensor::from_host(*backend, {images}, labels),
                                 zeros({features}),
                                 zeros({features, features}),
                                 zeros({classes, features}),
                                 zeros({classes})};
    backend->accumulate_moments(call);
    backend->accumulate_moments(call);
    const std::vector<double> values = x.to_doubles();
    const auto at = [&](std::int64_t image, std::int64_t feature) {
      return values[static_cast<std::size_t>(image * features + feature)];
    };
    std::vector<double> sum(19), products(19 * 19), class_sums(3 * 19);
    for (std::int64_t image = 0; image < images; ++image) {
      for (std::int64_t i = 0; i < features; ++i) {
        sum[static_cast<std::size_t>(i)] += 2 * at(image, i);
        class_sums[static_cast<std::size_t>(labels[static_cast<std::size_t>(image)] * features + i)] +=
            2 * at(image, i);
        for (std::int64_t j = 0; j < features; ++j) {
          products[static_cast<std::size_t>(i * features + j)] += 2 * at(image, i) * at(image, j);
        }
      }
    }
    expect_near(call.sum.to_doubles(), sum, 1e-14, backend->description());
    expect_near(call.products.to_doubles(), products, 1e-14, backend->description());
    expect_near(call.class_sums.to_doubles(), class_sums, 1e-14, backend->description());
    expect_near(call.class_counts.to_doubles(), {8, 4, 2}, 1e-14, backend->description());
  }
}

TEST(BFloat16Storage, WidensAndRoundsAsTheTypeDoes) {
  for (const std::string& set : cpu_instruction_sets()) {
    const auto backend = make_cpu_backend({.instruction_set = set});
    // 37: whole vectors and a rest. ReLU leaves positive numbers as they are, and x + x is exact.
    std::vector<double> values(37);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = std::ldexp(1.0 + Random(4).uniform(i), static_cast<int>(i) - 18);
    values[3] = values[36] = std::numeric_limits<double>::quiet_NaN();
    values[5] = std::numeric_limits<double>::infinity();
    const Tensor x = Tensor::from_doubles(*backend, {37}, values, DType::bfloat16);
    const Tensor third = Tensor::from_doubles(*backend, {37}, std::vector<double>(37, 1.0 / 3), DType::bfloat16);
    const Tensor y(*backend, {37}, DType::bfloat16), sum(*backend, {37}, DType::bfloat16);
    backend->relu_forward(x, y);
    backend->add(x, third, sum);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const BFloat16 stored(values[i]);
      if (std::isnan(values[i])) {
        EXPECT_TRUE(std::isnan(y.to_doubles()[i]) && std::isnan(sum.to_doubles()[i])) << set << ", element " << i;
        continue;
      }
      EXPECT_EQ(y.to_doubles()[i], static_cast<double>(stored)) << set << ", element " << i;
      const float exact = static_cast<float>(stored) + static_cast<float>(BFloat16(1.0 / 3));
      EXPECT_EQ(sum.to_doubles()[i], static_cast<double>(BFloat16(exact))) << set << ", element " << i;
    }
  }
}

TEST(CpuBackend, RefusesWhatTheMachineLacks) {
  EXPECT_THROW(make_cpu_backend({.instruction_set = "mmx"}), Error);
  EXPECT_THROW(make_cpu_backend({.threads = -1}), Error);
  EXPECT_THROW(make_cpu_backend({.threads = 100000}), Error);
  EXPECT_EQ(cpu_instruction_sets().back(), "portable");
}

}  // namespace
}  // namespace stagewise
