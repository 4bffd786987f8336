// Our own gradient of the filters (cuda/filter_gradient.cu): in bfloat16, in TF32 and in exact float32, at sizes that
// end in the middle of everything. Runs on a GPU where there is one, else on the software GPU (tests/softgpu).
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cmath>

#include "cpu/reference_backend.h"
#include "tests/cuda_memory.h"
#include "tests/primitive_cases.h"

namespace stagewise {
namespace {

using primitive_cases::ConvolutionSize;

/// Every kind of kernel, with maps smaller than a tile, odd ones, and ones of many tiles and parts.
const ConvolutionSize kSizes[] = {
    {1, 1, 1, 16, 16, 3, 3, {1, 1, 1}},   {9, 7, 7, 64, 64, 3, 3, {1, 1, 1}},   {2, 17, 30, 16, 16, 3, 3, {1, 1, 1}},
    {5, 16, 16, 16, 16, 3, 3, {1, 1, 1}}, {2, 5, 3, 48, 32, 3, 3, {1, 1, 1}},   {1, 3, 224, 32, 32, 3, 3, {1, 1, 1}},
    {3, 9, 13, 32, 16, 3, 3, {2, 1, 1}},  {3, 14, 14, 32, 64, 3, 3, {2, 1, 1}}, {1, 5, 224, 16, 32, 3, 3, {2, 1, 1}},
    {3, 32, 32, 16, 32, 1, 1, {2, 0, 0}}, {2, 15, 14, 32, 64, 1, 1, {2, 0, 0}}, {1, 9, 8, 64, 16, 1, 1, {1, 0, 0}},
    {2, 12, 10, 16, 16, 3, 3, {2, 0, 1}}, {1, 6, 6, 32, 32, 3, 3, {1, 2, 2}},   {2, 11, 13, 16, 48, 3, 3, {1, 0, 0}},
    {2, 10, 11, 16, 16, 1, 1, {2, 1, 0}}, {3, 19, 12, 3, 16, 3, 3, {1, 1, 1}},  {2, 13, 14, 1, 32, 3, 3, {2, 1, 1}},
    {9, 9, 5, 4, 48, 1, 1, {1, 0, 0}},
};

enum class Precision { bf16, tf32, fp32 };

class FilterGradient : public testing::TestWithParam<Precision> {
 protected:
  static bool tf32() { return GetParam() == Precision::tf32; }
  static DType maps() { return GetParam() == Precision::bf16 ? DType::bfloat16 : DType::float32; }

  void SetUp() override {
    if (!cuda_->supports(DType::bfloat16)) GTEST_SKIP() << "this card's tensor cores don't know the types";
  }
  std::string algorithm(const ConvolutionSize& size) {
    return cuda_->convolution_plan(size.input(), size.filter(), size.options, maps()).back().algorithm;
  }
  /// x and dy hold value(i), i counting on from one map to the next.
  template <class Value>
  static std::vector<float> run(Backend& on, const ConvolutionSize& size, DType maps, const Value& value) {
    std::uint64_t next = 0;
    const auto map = [&](const Shape& shape) {
      std::vector<double> values(static_cast<std::size_t>(shape.count()));
      for (double& each : values) each = value(next++);
      return Tensor::from_doubles(on, shape, values, maps);
    };
    const Tensor x = map(size.input()), dy = map(size.output()), d_weight(on, size.filter());
    on.convolution_backward_weights({.x = x, .dy = dy, .d_weight = d_weight, .options = size.options});
    return d_weight.to_host<float>();
  }

  std::unique_ptr<Backend> cuda_ = make_cuda_backend({.tf32 = tf32(), .memory = memory_of_tests()});
  std::unique_ptr<Backend> reference_ = make_reference_backend();
};

double small_integer(std::uint64_t i) { return static_cast<double>(Random(7).bits(i) % 7) - 3; }
double any_number(std::uint64_t i) { return 2 * Random(8).uniform(i) - 1; }

TEST_P(FilterGradient, OfSmallIntegersIsExact) {
  for (const ConvolutionSize& size : kSizes) {
    ASSERT_EQ(algorithm(size), "own") << size.name();
    ASSERT_EQ(run(*cuda_, size, maps(), small_integer), run(*reference_, size, DType::float32, small_integer))
        << size.name();
  }
}

/// Ten bits behind the point, halves away from zero; bfloat16 rounds to seven by itself.
double rounded_to_tf32(double value) {
  const int last_place = std::ilogb(value) - 10;
  return std::ldexp(std::round(std::ldexp(static_cast<double>(static_cast<float>(value)), -last_place)), last_place);
}

/// What is rounded are the operands and nothing else: n products of numbers up to 1, summed in float32, are off by no more
/// than a few roundings of what they sum to.
TEST_P(FilterGradient, OfAnyNumbersIsThatOfTheRoundedOnes) {
  for (const ConvolutionSize& size : kSizes) {
    const auto rounded = [&](std::uint64_t i) {
      if (maps() == DType::bfloat16) return static_cast<double>(BFloat16(any_number(i)));
      return tf32() && size.channels > 4 ? rounded_to_tf32(any_number(i)) : any_number(i);
    };
    const std::vector<float> got = run(*cuda_, size, maps(), any_number);
    const std::vector<float> expected = run(*reference_, size, DType::float32, rounded);
    const double allowed = 2e-6 * std::sqrt(static_cast<double>(size.output().count() / size.filters) + 16);
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], allowed) << size.name() << ", " << i;
  }
}

/// On the software GPU blocks and warps take turns in another order each time.
TEST_P(FilterGradient, HasTheSameBitsInEveryOrder) {
  using SetOrder = int (*)(const char*);
  const auto set_order = reinterpret_cast<SetOrder>(dlsym(RTLD_DEFAULT, "softgpu_set_order"));
  for (const ConvolutionSize& size : kSizes) {
    if (size.output().count() / size.filters < 400) continue;  // a block or two
    const std::vector<float> first = run(*cuda_, size, maps(), any_number);
    for (const char* order : {"reverse", "random:1"}) {
      if (set_order != nullptr) set_order(order);
      EXPECT_EQ(run(*cuda_, size, maps(), any_number), first) << size.name() << ", " << order;
    }
    if (set_order != nullptr) set_order("forward");
  }
}

std::string name_of(const testing::TestParamInfo<Precision>& info) {
  constexpr const char* kNames[] = {"BFloat16", "TF32", "Float32"};
  return kNames[static_cast<int>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(All, FilterGradient, testing::Values(Precision::bf16, Precision::tf32, Precision::fp32),
                         name_of);

TEST(FilterGradientApplies, ToNothingElse) {
  const auto algorithm = [](Backend& cuda, const ConvolutionSize& size, DType maps) {
    return cuda.convolution_plan(size.input(), size.filter(), size.options, maps).back().algorithm;
  };
  const auto exact = make_cuda_backend(), cudnn = make_cuda_backend({.own_filter_gradient = false});
  EXPECT_NE(algorithm(*cudnn, kSizes[0], DType::bfloat16), "own");
  const ConvolutionSize others[] = {{2, 8, 8, 5, 16, 3, 3, {1, 1, 1}},   {2, 8, 8, 16, 24, 3, 3, {1, 1, 1}},
                                    {2, 8, 8, 16, 128, 3, 3, {1, 1, 1}}, {2, 9, 9, 16, 16, 5, 5, {1, 2, 2}},
                                    {2, 9, 9, 16, 16, 3, 1, {1, 0, 0}},  {2, 9, 9, 16, 16, 3, 3, {3, 1, 1}}};
  for (const ConvolutionSize& size : others) EXPECT_NE(algorithm(*exact, size, DType::bfloat16), "own") << size.name();
}

/// How the networks' problems are cut, as docs/cuda.md has it: by their size, whatever the card.
TEST(FilterGradientCut, IsAsTheDocsSay) {
  const auto cuda = make_cuda_backend();
  if (!cuda->supports(DType::bfloat16)) GTEST_SKIP() << "this card's tensor cores don't know bfloat16";
  const auto reason = [&](std::int64_t images, std::int64_t size, std::int64_t channels) {
    return cuda
        ->convolution_plan({images, size, size, channels}, {channels, 3, 3, channels}, {1, 1, 1}, DType::bfloat16)
        .back()
        .reason;
  };
  const std::string own = "our own kernel (tensor cores), ";
  EXPECT_EQ(reason(128, 32, 16), own + "256 blocks, 256 parts in 2304 KiB");
  EXPECT_EQ(reason(128, 16, 32), own + "128 blocks, 128 parts in 4608 KiB");
  EXPECT_EQ(reason(128, 8, 64), own + "128 blocks, 32 parts in 4608 KiB");
  EXPECT_EQ(reason(1024, 32, 16), own + "256 blocks, 256 parts in 2304 KiB");
  EXPECT_EQ(reason(1024, 16, 32), own + "256 blocks, 256 parts in 9216 KiB");
  EXPECT_EQ(reason(1024, 8, 64), own + "256 blocks, 64 parts in 9216 KiB");
}

}  // namespace
}  // namespace stagewise
