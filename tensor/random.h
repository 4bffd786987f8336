// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC'11, "Parallel random numbers: as easy
// as 1, 2, 3"). A number depends only on (seed, stream, index), never on who asks or in which order, so every
// thread and every device draws the same ones, to the bit. The bits are those of cuRAND's Philox: its subsequence is
// our stream, its offset our index, so cuda/random.cu draws them with cuRAND's device functions. tensor/distributions.h
// turns bits into numbers.
#pragma once

#include <array>
#include <cstdint>

namespace stagewise {

/// One block of the generator: ten rounds over a 128-bit counter with a 64-bit key.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// The numbers of one (seed, stream). Streams keep uses apart: see `stream_of`.
class Random {
 public:
  explicit Random(std::uint64_t seed, std::uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  /// The 32 bits at `index`.
  std::uint32_t bits(std::uint64_t index) const;
  /// Uniform in [0, 1), a multiple of 2^-32.
  double uniform(std::uint64_t index) const;
  /// Uniform in {0, ..., bound-1}; bound > 0. The bias is below bound * 2^-64. From the bits at 4*index and 4*index+1.
  std::uint64_t below(std::uint64_t index, std::uint64_t bound) const;
  /// Standard normal, by Box and Muller from the bits at 2*index and 2*index+1.
  double normal(std::uint64_t index) const;

 private:
  std::uint64_t seed_, stream_;
};

/// A stream number made from a name and up to two counters (an epoch, a block's number), by FNV-1a.
std::uint64_t stream_of(const char* name, std::uint64_t a = 0, std::uint64_t b = 0);

}  // namespace stagewise
