// That cuRAND's Philox and ours (tensor/random.h) give the same numbers. With seed as the key, a cuRAND subsequence is
// one of our streams, and its numbers are the stream's, in order. The device functions (curand_kernel.h) take any
// subsequence, so a kernel draws what the host would have drawn: cuda/random.cu does, by the function beneath them. The
// library's generators fill memory from the subsequences 0 to 65535 in turn, four numbers each: they reach streams of
// those numbers only, and ours are hashes of names (stream_of), so they have nothing to draw for us, but they run on a
// host without a GPU and pin the layout down.
#include <cuda_runtime_api.h>
#include <curand.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "tensor/random.h"
#include "tests/curand_kernel.h"

namespace stagewise {
namespace {

constexpr std::uint64_t kSubsequences = 65536;

/// What a cuRAND generator puts at `position`, in our terms.
std::uint32_t expected_bits(std::uint64_t seed, std::uint64_t position) {
  const std::uint64_t block = position / 4;
  return Random(seed, block % kSubsequences).bits(4 * (block / kSubsequences) + position % 4);
}

struct Generator {
  curandGenerator_t handle = nullptr;
  ~Generator() { curandDestroyGenerator(handle); }
  void start(std::uint64_t seed, std::uint64_t offset) const {
    ASSERT_EQ(curandSetGeneratorOrdering(handle, CURAND_ORDERING_PSEUDO_LEGACY), CURAND_STATUS_SUCCESS);
    ASSERT_EQ(curandSetPseudoRandomGeneratorSeed(handle, seed), CURAND_STATUS_SUCCESS);
    ASSERT_EQ(curandSetGeneratorOffset(handle, offset), CURAND_STATUS_SUCCESS);
  }
};

constexpr std::uint64_t kSeeds[] = {0, 1, 0x0f1e2d3c4b5a6978};

void expect_ours(const std::vector<std::uint32_t>& got, std::uint64_t seed, std::uint64_t offset) {
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i], expected_bits(seed, offset + i)) << "seed " << seed << ", number " << offset + i;
  }
}

TEST(CurandHost, GivesOurStreams) {
  Generator generator;
  ASSERT_EQ(curandCreateGeneratorHost(&generator.handle, CURAND_RNG_PSEUDO_PHILOX4_32_10), CURAND_STATUS_SUCCESS);
  for (const std::uint64_t seed : kSeeds) {
    // Twice all subsequences and a bit: so the second block of some, and a number that ends inside a block.
    std::vector<std::uint32_t> got(2 * 4 * kSubsequences + 6);
    generator.start(seed, 0);
    ASSERT_EQ(curandGenerate(generator.handle, got.data(), got.size()), CURAND_STATUS_SUCCESS);
    expect_ours(got, seed, 0);
  }
}

TEST(CurandHost, AnOffsetIsAPlaceInTheSameSequence) {
  Generator generator;
  ASSERT_EQ(curandCreateGeneratorHost(&generator.handle, CURAND_RNG_PSEUDO_PHILOX4_32_10), CURAND_STATUS_SUCCESS);
  for (const std::uint64_t offset : {std::uint64_t{4}, std::uint64_t{4096}, 4 * kSubsequences - 8}) {
    std::vector<std::uint32_t> got(64);
    generator.start(7, offset);
    ASSERT_EQ(curandGenerate(generator.handle, got.data(), got.size()), CURAND_STATUS_SUCCESS);
    expect_ours(got, 7, offset);
  }
}

class CurandDevice : public testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) GTEST_SKIP() << "no device";
  }
  template <class Fill>
  static std::vector<std::uint32_t> from_device(std::size_t count, const Fill& fill) {
    std::uint32_t* numbers = nullptr;
    EXPECT_EQ(cudaMalloc(&numbers, count * sizeof *numbers), cudaSuccess);
    fill(numbers);
    std::vector<std::uint32_t> got(count);
    EXPECT_EQ(cudaMemcpy(got.data(), numbers, count * sizeof *numbers, cudaMemcpyDeviceToHost), cudaSuccess);
    cudaFree(numbers);
    return got;
  }
};

TEST_F(CurandDevice, TheLibrarysGeneratorGivesThemToo) {
  Generator generator;
  ASSERT_EQ(curandCreateGenerator(&generator.handle, CURAND_RNG_PSEUDO_PHILOX4_32_10), CURAND_STATUS_SUCCESS);
  for (const std::uint64_t seed : kSeeds) {
    generator.start(seed, 0);
    expect_ours(from_device(4 * kSubsequences + 6,
                            [&](std::uint32_t* numbers) {
                              EXPECT_EQ(curandGenerate(generator.handle, numbers, 4 * kSubsequences + 6),
                                        CURAND_STATUS_SUCCESS);
                            }),
                seed, 0);
  }
}

TEST_F(CurandDevice, AKernelDrawsAnyStreamFromAnyPlace) {
  for (const std::uint64_t seed : kSeeds) {
    for (const std::uint64_t stream :
         {std::uint64_t{0}, stream_of("stages.2.blocks.17.conv1.weight"), ~std::uint64_t{0}}) {
      for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{6}, (std::uint64_t{1} << 34) + 1}) {
        const auto got =
            from_device(77, [&](std::uint32_t* numbers) { curand_kernel_bits(seed, stream, first, numbers, 77); });
        for (std::size_t i = 0; i < got.size(); ++i) {
          ASSERT_EQ(got[i], Random(seed, stream).bits(first + i)) << stream << ", number " << first + i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace stagewise
