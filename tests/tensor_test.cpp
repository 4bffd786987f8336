// Shapes, tensors, random numbers, the allocator.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <numbers>
#include <set>
#include <thread>

#include "cpu/reference_backend.h"
#include "tensor/backend.h"
#include "tensor/distributions.h"
#include "tensor/random.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

TEST(Shape, CountsItsElementsAndWritesItself) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[1], 3);
  EXPECT_EQ(shape.back(), 4);
  EXPECT_EQ(shape.count(), 24);
  EXPECT_EQ(concat(shape), "[2,3,4]");
  EXPECT_EQ(Shape().count(), 1);
  EXPECT_EQ(concat(Shape()), "[]");
  EXPECT_EQ((Shape{5, 0}.count()), 0);
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
}

TEST(Shape, RefusesWhatIsNoShape) {
  EXPECT_EQ(message_of([] { Shape{1, 2, 3, 4, 5}; }), "[shape] expected at most 4 sizes, got 5");
  EXPECT_EQ(message_of([] { Shape{3, -1}; }), "[shape] expected sizes of at least 0, got -1");
  const std::int64_t large = std::int64_t{1} << 40;
  EXPECT_TRUE(contains(message_of([&] { Shape{large, large}.count(); }), "more than 2^63 elements"));
}

TEST(BFloat16, RoundsToNearestAndTiesToEven) {
  const auto rounded = [](float value) { return static_cast<float>(BFloat16(value)); };
  EXPECT_EQ(BFloat16(1.0F).bits, 0x3f80);
  EXPECT_EQ(BFloat16(-2.5F).bits, 0xc020);
  // Seven bits behind the point: the neighbours of 1 are 1/128 apart.
  EXPECT_EQ(rounded(1.0F + 1.0F / 512), 1.0F);
  EXPECT_EQ(rounded(1.0F + 3.0F / 512), 1.0F + 1.0F / 128);
  EXPECT_EQ(rounded(1.0F + 1.0F / 256), 1.0F);              // a tie, to even
  EXPECT_EQ(rounded(1.0F + 3.0F / 256), 1.0F + 1.0F / 64);  // a tie, to even
  EXPECT_EQ(rounded(std::numeric_limits<float>::max()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(rounded(-std::numeric_limits<float>::infinity()), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(rounded(std::numeric_limits<float>::quiet_NaN())));
  // A NaN whose upper half alone would be an infinity.
  EXPECT_TRUE(std::isnan(rounded(std::bit_cast<float>(0x7f800001U))));
  EXPECT_EQ(rounded(std::bit_cast<float>(0x00000001U)), 0.0F);
}

class Tensors : public testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(backend_->allocator().statistics().guard_violations, 0); }
  const std::unique_ptr<Backend> backend_ = make_reference_backend(/*guarded=*/true);
};

TEST_F(Tensors, KeepTheirElementsOfEveryType) {
  const auto round_trip = [this](const auto& values) {
    using Value = typename std::decay_t<decltype(values)>::value_type;
    const Tensor tensor = Tensor::from_host(*backend_, {2, 2}, values);
    EXPECT_EQ(tensor.bytes(), 4 * sizeof(Value));
    EXPECT_EQ(tensor.template to_host<Value>(), values);
    EXPECT_EQ(tensor.to_doubles(), std::vector<double>(values.begin(), values.end()));
  };
  round_trip(std::vector<std::uint8_t>{0, 1, 254, 255});
  round_trip(std::vector<std::int32_t>{-2147483647, -1, 0, 2147483647});
  round_trip(std::vector<float>{-0.1F, 0.0F, 1e-38F, 3e38F});
  round_trip(std::vector<double>{-0.1, 0.0, 1e-300, 1e300});
}

TEST_F(Tensors, AreMadeFromDoublesAndFromOneValue) {
  const std::vector<double> values{0.1, 0.2};
  EXPECT_EQ(Tensor::from_doubles(*backend_, {2}, values, DType::float32).to_host<float>(),
            (std::vector<float>{0.1F, 0.2F}));
  EXPECT_EQ(Tensor::from_doubles(*backend_, {2}, values, DType::float64).to_host<double>(), values);
  EXPECT_EQ(Tensor::full(*backend_, {3}, 0.1).to_host<float>(), (std::vector<float>{0.1F, 0.1F, 0.1F}));
  EXPECT_EQ(Tensor::full(*backend_, {2}, -7, DType::int32).to_host<std::int32_t>(),
            (std::vector<std::int32_t>{-7, -7}));
  EXPECT_EQ(Tensor::zeros(*backend_, {}).to_host<float>(), std::vector<float>{0.0F});
  EXPECT_TRUE(Tensor::zeros(*backend_, {0, 3}).to_host<float>().empty());
}

TEST_F(Tensors, ShareElementsWhenCopiedOrReshapedAndNotWhenCloned) {
  const Tensor tensor = Tensor::from_host(*backend_, {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  const Tensor copy = tensor;  // NOLINT(performance-unnecessary-copy-initialization): the copy is what is tested
  const Tensor reshaped = tensor.reshaped({3, 1, 2}), clone = tensor.clone();
  EXPECT_EQ(reshaped.shape(), (Shape{3, 1, 2}));
  EXPECT_EQ(clone.shape(), tensor.shape());
  EXPECT_EQ(clone.to_host<float>(), tensor.to_host<float>());
  backend_->fill(tensor, 7.0);
  EXPECT_EQ(copy.to_host<float>(), std::vector<float>(6, 7.0F));
  EXPECT_EQ(reshaped.to_host<float>(), std::vector<float>(6, 7.0F));
  EXPECT_EQ(clone.to_host<float>(), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_FALSE(Tensor().defined());
  EXPECT_EQ(Tensor().data<float>(), nullptr);
}

TEST_F(Tensors, SayWhatDidNotFit) {
  const Tensor tensor = Tensor::zeros(*backend_, {2, 3});
  const std::string wrong_type = "[tensor] expected elements of type int32, got float32 of shape [2,3]";
  EXPECT_EQ(message_of([&] { tensor.to_host<std::int32_t>(); }), wrong_type);
  EXPECT_EQ(message_of([&] { (void)tensor.data<std::int32_t>(); }), wrong_type);
  EXPECT_EQ(message_of([&] {
              Tensor::from_host(*backend_, {2, 3}, std::vector<float>(5));
            }),
            "[tensor] expected 6 values for shape [2,3], got 5");
  EXPECT_EQ(message_of([&] { tensor.reshaped({4, 2}); }), "[reshape] expected a shape of 6 elements, got [4,2]");
  EXPECT_EQ(message_of([&] { Tensor::from_doubles(*backend_, {0}, {}, DType::uint8); }),
            "[tensor] expected a floating-point type, got uint8");
}

TEST_F(Tensors, RefuseShapesWhoseBytesDoNotFit) {
  const std::int64_t large = std::int64_t{1} << 60;
  EXPECT_EQ(message_of([&] {
              Tensor(*backend_, {large, 4});
            }),
            "[tensor] expected a shape of at most 2^62 bytes, got [1152921504606846976,4] of float32");
  // One element more than 2^64 bytes: the product of count and size wraps round to 8 bytes.
  EXPECT_TRUE(contains(message_of([&] { Tensor(*backend_, {2 * large + 1}, DType::float64); }), "at most 2^62 bytes"));
  EXPECT_EQ(backend_->allocator().statistics().bytes_in_use, 0);
}

// The answers published with the generator (Random123, kat_vectors).
TEST(Philox, GivesThePublishedAnswers) {
  using Block = std::array<std::uint32_t, 4>;
  const std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// As in cuRAND: the block's number fills the low half of the counter, the stream the high half, the seed the key.
TEST(Random, LaysItsNumbersOutInBlocks) {
  const std::uint64_t number = 0x123456789a, stream = 0xfedcba9876543210, seed = 0x0f1e2d3c4b5a6978;
  const auto block = philox4x32({0x3456789a, 0x12, 0x76543210, 0xfedcba98}, {0x4b5a6978, 0x0f1e2d3c});
  const Random random(seed, stream);
  for (std::uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(random.bits(4 * number + i), block[i]);
    EXPECT_EQ(random.uniform(4 * number + i), block[i] / 4294967296.0);
  }
}

/// cos(2 pi turn / 2^32) by the library's functions in long double, away from where they would cancel.
long double library_cos(std::uint32_t turn) {
  const long double part = turn * 0x1p-32L, to_radians = 2 * std::numbers::pi_v<long double>;
  if (std::abs(part - 0.25L) < 0.125L) return std::sin(to_radians * (0.25L - part));
  if (std::abs(part - 0.75L) < 0.125L) return std::sin(to_radians * (part - 0.75L));
  return std::cos(to_radians * part);
}

double relative_error(double got, long double expected) {
  if (expected == 0.0L) return std::abs(got);
  return static_cast<double>(std::abs((got - expected) / expected));
}

TEST(Distributions, NormalNumbersAreThoseOfTheLibrarysLogAndCos) {
  // Where something ends: the smallest and largest bits, the change of exponent at sqrt(1/2), the eighths of a turn.
  std::vector<std::uint32_t> firsts, seconds;
  for (std::uint32_t i = 0; i < 50; ++i) {
    for (const std::uint32_t from : {0U, 3037000499U - 25, 3037000499U / 2 - 25, 0x80000000U - 25, 0xffffffffU - 49}) {
      firsts.push_back(from + i);
    }
    for (std::uint32_t eighth = 0; eighth < 8; ++eighth) seconds.push_back((eighth << 29) + i - 25);
  }
  const Random random(6);
  for (std::uint64_t i = 0; i < 1000; ++i)
    firsts.push_back(random.bits(2 * i)), seconds.push_back(random.bits(2 * i + 1));
  double of_log = 0.0, of_cos = 0.0, of_normal = 0.0;
  for (const std::uint32_t first : firsts) {
    const long double log = std::log((first + 1.0L) * 0x1p-32L);
    of_log = std::max(of_log, relative_error(exact_log((first + 1.0) * 0x1p-32), log));
    for (const std::uint32_t second : seconds) {
      const long double normal = std::sqrt(-2 * log) * library_cos(second);
      of_normal = std::max(of_normal, relative_error(normal_of(first, second), normal));
    }
  }
  for (const std::uint32_t second : seconds) {
    of_cos = std::max(of_cos, relative_error(exact_cos(second), library_cos(second)));
  }
  EXPECT_LT(of_log, 5e-16);
  EXPECT_LT(of_cos, 5e-16);
  EXPECT_LT(of_normal, 1e-15);
  // Quarter turns are exact, which 2 pi rounded to a double would not give.
  EXPECT_EQ(exact_cos(0), 1.0);
  EXPECT_EQ(exact_cos(1U << 30), 0.0);
  EXPECT_EQ(exact_cos(2U << 30), -1.0);
  EXPECT_EQ(exact_cos(3U << 30), 0.0);
  // And over the whole range of exponents.
  for (const double x : {1e-300, 1e-9, 0.3, 1.0, 1.5, 7e22, 1e300}) {
    EXPECT_LT(relative_error(exact_log(x), std::log(static_cast<long double>(x))), 5e-16) << x;
  }
}

TEST(Random, NormalNumbersComeFromTwoNeighboursBits) {
  const Random random(0x0f1e2d3c4b5a6978, 0xfedcba9876543210);
  for (std::uint64_t i = 0; i < 9; ++i) {
    EXPECT_EQ(random.normal(i), normal_of(random.bits(2 * i), random.bits(2 * i + 1)));
  }
}

constexpr int kDraws = 100'000;

TEST(Random, UniformNumbersFillTheUnitIntervalEvenly) {
  const Random random(1);
  double sum = 0.0, neighbours = 0.0;
  std::array<int, 16> bins{};
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.uniform(i);
    ASSERT_TRUE(x >= 0.0 && x < 1.0);
    sum += x;
    neighbours += (x - 0.5) * (random.uniform(i + 1) - 0.5);
    ++bins[static_cast<std::size_t>(16 * x)];
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 / std::sqrt(12.0 * kDraws));
  EXPECT_NEAR(neighbours / kDraws, 0.0, 5 / 12.0 / std::sqrt(kDraws));
  double chi_squared = 0.0;
  for (const int bin : bins) chi_squared += std::pow(bin - kDraws / 16.0, 2) / (kDraws / 16.0);
  EXPECT_LT(chi_squared, 45.0);  // 15 degrees of freedom: p < 1e-4
}

TEST(Random, NormalNumbersHaveTheMomentsOfTheNormalDistribution) {
  const Random random(2);
  double sum = 0.0, squares = 0.0, fourths = 0.0;
  int beyond_two = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal(i);
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    fourths += x * x * x * x;
    beyond_two += std::abs(x) > 2.0 ? 1 : 0;
  }
  const double deviation = 1.0 / std::sqrt(kDraws);
  EXPECT_NEAR(sum / kDraws, 0.0, 5 * deviation);
  EXPECT_NEAR(squares / kDraws, 1.0, 5 * std::sqrt(2.0) * deviation);
  EXPECT_NEAR(fourths / kDraws, 3.0, 5 * std::sqrt(96.0) * deviation);
  EXPECT_NEAR(static_cast<double>(beyond_two) / kDraws, 0.0455, 5 * std::sqrt(0.0455) * deviation);
}

TEST(Random, BelowScalesABlocksFirst64Bits) {
  const Random random(0x0f1e2d3c4b5a6978, 0xfedcba9876543210);
  for (std::uint64_t i = 0; i < 100; ++i) {
    for (const std::uint64_t bound : {1ULL, 2ULL, 9ULL, 0xffffffffULL}) {
      // The product of 64 and 32 bits in two halves, the lower one's carry into the upper.
      const std::uint64_t high = random.bits(4 * i) * bound, low = random.bits(4 * i + 1) * bound;
      EXPECT_EQ(random.below(i, bound), (high + (low >> 32)) >> 32) << i << ", " << bound;
    }
  }
}

TEST(Random, BelowTakesEveryValueAlikeAndNoOther) {
  const Random random(3);
  std::array<int, 7> counts{};
  for (int i = 0; i < kDraws; ++i) {
    const std::uint64_t value = random.below(i, 7);
    ASSERT_LT(value, 7U);
    ++counts[value];
    EXPECT_EQ(random.below(i, 1), 0U);
  }
  double chi_squared = 0.0;
  for (const int count : counts) chi_squared += std::pow(count - kDraws / 7.0, 2) / (kDraws / 7.0);
  EXPECT_LT(chi_squared, 28.0);  // 6 degrees of freedom: p < 1e-4
  EXPECT_GT(random.below(0, ~std::uint64_t{0}) | random.below(1, ~std::uint64_t{0}), std::uint64_t{1} << 60);
}

TEST(Random, SeedsAndStreamsKeepApart) {
  std::set<std::uint32_t> seen;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    for (std::uint64_t stream = 0; stream < 4; ++stream) {
      for (std::uint64_t index = 0; index < 8; ++index) seen.insert(Random(seed, stream).bits(index));
    }
  }
  EXPECT_EQ(seen.size(), 128U);
  std::set<std::uint64_t> streams;
  for (const char* name : {"order", "augment"}) {
    for (std::uint64_t a = 0; a < 3; ++a) {
      for (std::uint64_t b = 0; b < 3; ++b) streams.insert(stream_of(name, a, b));
    }
  }
  EXPECT_EQ(streams.size(), 18U);
  // From the published hash of "a": each of the counters' 16 zero bytes only multiplies it by FNV's prime.
  std::uint64_t hash = 0xaf63dc4c8601ec8c;
  for (int i = 0; i < 16; ++i) hash *= 0x100000001b3;
  EXPECT_EQ(stream_of("a"), hash);
}

class Allocator : public testing::Test {
 protected:
  CachingAllocator::Source source() {
    return {[this](std::size_t bytes) {
              system_bytes_ += bytes;
              return ::operator new (bytes, std::align_val_t{64});
            },
            [this](void* pointer, std::size_t bytes) {
              system_bytes_ -= bytes;
              ::operator delete (pointer, std::align_val_t{64});
            }};
  }
  void TearDown() override { EXPECT_EQ(system_bytes_, 0U) << "not everything was given back"; }
  std::size_t system_bytes_ = 0;
};

TEST_F(Allocator, HandsFreedBuffersOutAgain) {
  CachingAllocator allocator(source());
  void* const first = allocator.allocate(1000);
  void* const second = allocator.allocate(1000);
  EXPECT_NE(first, second);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0U);
  const std::int64_t in_use = allocator.statistics().bytes_in_use;
  EXPECT_GE(in_use, 2000);
  EXPECT_EQ(allocator.statistics().bytes_cached, 0);
  allocator.deallocate(first, 1000);
  EXPECT_EQ(allocator.statistics().bytes_cached, in_use / 2);
  EXPECT_EQ(allocator.allocate(1000), first);
  EXPECT_EQ(allocator.statistics().system_allocations, 2);
  allocator.deallocate(first, 1000);
  allocator.deallocate(second, 1000);
  EXPECT_EQ(allocator.statistics().bytes_in_use, 0);
  EXPECT_EQ(allocator.statistics().bytes_cached, in_use);
  EXPECT_EQ(allocator.statistics().peak_bytes_in_use, in_use);
}

TEST_F(Allocator, WastesAtMostAnEighth) {
  CachingAllocator allocator(source());
  for (const std::size_t bytes : {1025U, 5000U, 65'537U, 1'000'001U}) {
    void* const pointer = allocator.allocate(bytes);
    EXPECT_GE(allocator.statistics().bytes_in_use, static_cast<std::int64_t>(bytes));
    EXPECT_LE(allocator.statistics().bytes_in_use, static_cast<std::int64_t>(bytes + bytes / 8));
    allocator.deallocate(pointer, bytes);
  }
}

TEST_F(Allocator, RefusesSizesThatItCannotRoundUp) {
  CachingAllocator allocator(source());
  EXPECT_EQ(message_of([&] { allocator.allocate(CachingAllocator::kMaxBytes + 1); }),
            "[allocator] expected a request of at most 2^62 bytes, got 4611686018427387905");
  EXPECT_THROW(allocator.allocate(~std::size_t{0}), Error);
}

TEST_F(Allocator, OutOfMemoryGivesBackWhatIsCachedBeforeItIsAnError) {
  CachingAllocator::Source bounded = source();
  bounded.acquire = [this, unbounded = bounded.acquire](std::size_t bytes) {
    if (system_bytes_ + bytes > 100'000) throw std::bad_alloc();
    return unbounded(bytes);
  };
  CachingAllocator allocator(bounded);
  void* const kept = allocator.allocate(10'240);
  allocator.deallocate(allocator.allocate(61'440), 61'440);
  void* const large = allocator.allocate(81'920);  // has room only without what is cached
  EXPECT_EQ(allocator.statistics().bytes_cached, 0);
  EXPECT_THROW(allocator.allocate(20'480), OutOfMemory);
  EXPECT_EQ(message_of([&] { allocator.allocate(20'480); }),
            "out of memory: 20,480 bytes were asked for, 92,160 are in use");
  allocator.deallocate(large, 81'920);
  EXPECT_NO_THROW(allocator.deallocate(allocator.allocate(20'480), 20'480));
  allocator.deallocate(kept, 10'240);
}

TEST_F(Allocator, TrimGivesTheCachedBuffersBack) {
  CachingAllocator allocator(source());
  void* const kept = allocator.allocate(64);
  allocator.deallocate(allocator.allocate(5000), 5000);
  EXPECT_GT(system_bytes_, 5000U);
  allocator.trim();
  EXPECT_EQ(system_bytes_, 64U);
  EXPECT_EQ(allocator.statistics().bytes_cached, 0);
  allocator.deallocate(kept, 64);
}

TEST_F(Allocator, NoticesAByteWrittenBeyondABuffer) {
  CachingAllocator allocator(source(), /*guarded=*/true);
  const std::size_t size = 100;
  const auto violations_after_writing = [&](std::ptrdiff_t place) {
    auto* const bytes = static_cast<unsigned char*>(allocator.allocate(size));
    bytes[place] = 0;
    allocator.deallocate(bytes, size);
    return allocator.statistics().guard_violations;
  };
  EXPECT_EQ(violations_after_writing(0), 0);
  EXPECT_EQ(violations_after_writing(size - 1), 0);
  EXPECT_EQ(violations_after_writing(size), 1);
  EXPECT_EQ(violations_after_writing(-1), 2);
  EXPECT_EQ(violations_after_writing(50), 2);
}

TEST_F(Allocator, GuardedBuffersStartAsNotANumberEvenWhenUsedBefore) {
  CachingAllocator allocator(source(), /*guarded=*/true);
  for (int use = 0; use < 2; ++use) {
    auto* const floats = static_cast<float*>(allocator.allocate(10 * sizeof(float)));
    EXPECT_TRUE(std::all_of(floats, floats + 10, [](float value) { return std::isnan(value); }));
    std::fill_n(floats, 10, 1.0F);
    allocator.deallocate(floats, 10 * sizeof(float));
  }
  EXPECT_EQ(allocator.statistics().system_allocations, 1);
}

TEST_F(Allocator, ServesSeveralThreads) {
  CachingAllocator allocator(source(), /*guarded=*/true);
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&allocator, thread] {
        for (int i = 0; i < 500; ++i) {
          const auto bytes = static_cast<std::size_t>(1 + 37 * i % 300);
          void* const buffer = allocator.allocate(bytes);
          std::memset(buffer, thread, bytes);
          allocator.deallocate(buffer, bytes);
        }
      });
    }
  }
  EXPECT_EQ(allocator.statistics().bytes_in_use, 0);
  EXPECT_EQ(allocator.statistics().guard_violations, 0);
}

}  // namespace
}  // namespace stagewise
