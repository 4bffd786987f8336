// That a backend draws the numbers of tensor/random.h to the bit: for the CPU's backends and the GPU's.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "tensor/backend.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace stagewise {

/// A seed and a stream, beyond 32 bits too.
struct Source {
  std::uint64_t seed, stream;
};
inline const Source kSources[] = {{0, 0}, {1, stream_of("stages.2.blocks.17.conv1.weight")}, {~0ULL << 32, ~0ULL}};

/// Sizes where a thread's four numbers, a block of threads or both end in the middle.
template <class T>
void expect_numbers(Backend& backend) {
  for (const auto& [seed, stream] : kSources) {
    const Random random(seed, stream);
    for (const std::int64_t count : {0, 1, 3, 4, 5, 127, 1024, 1025, 5003}) {
      std::vector<T> normal, uniform;
      for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(count); ++i) {
        normal.push_back(static_cast<T>(0.3 * random.normal(i)));
        uniform.push_back(static_cast<T>(0.7 * (2.0 * random.uniform(i) - 1.0)));
      }
      SCOPED_TRACE(concat(backend.description(), ", seed ", seed, ", stream ", stream, ", ", count, " numbers"));
      const Tensor out(backend, {count}, dtype_of<T>());
      backend.draw_numbers({out, DrawNumbers::Distribution::normal, 0.3, seed, stream});
      ASSERT_EQ(out.to_host<T>(), normal);
      backend.draw_numbers({out, DrawNumbers::Distribution::uniform, 0.7, seed, stream});
      ASSERT_EQ(out.to_host<T>(), uniform);
    }
  }
}

inline void expect_augmentation(Backend& backend) {
  for (const auto& [seed, stream] : kSources) {
    const Random random(seed, stream), flips(seed, stream + 1), cutouts(seed, stream + 2);
    for (const std::int64_t images : {1, 3, 4, 5, 127, 300}) {
      const std::uint64_t first_place = images == 5 ? 1ULL << 33 : static_cast<std::uint64_t>(images);
      struct Kind {
        Flip flip;
        bool odd_epoch;
        std::int64_t cutout;
      };
      for (const Kind& kind : {Kind{Flip::none, true, 0}, Kind{Flip::random, true, 7},
                               Kind{Flip::alternating, false, 8}, Kind{Flip::alternating, true, 0}}) {
        const bool alternating = kind.flip == Flip::alternating;
        const std::int32_t before = kind.cutout == 7 ? 3 : 4;  // a square of 8 begins 4 before its centre
        const auto start = [&](std::uint64_t at, std::uint64_t size) {
          return kind.cutout == 0 ? 0 : static_cast<std::int32_t>(cutouts.below(at, size)) - before;
        };
        std::vector<std::int32_t> indices, expected;
        for (std::uint64_t b = 0; b < static_cast<std::uint64_t>(images); ++b) {
          const std::uint64_t number = 3 * (first_place + b);
          indices.push_back(static_cast<std::int32_t>(random.bits(b) >> 1));
          expected.push_back(indices.back());
          expected.push_back(static_cast<std::int32_t>(random.below(number, 9)) - 4);
          expected.push_back(static_cast<std::int32_t>(random.below(number + 1, 2'000'001)) - 1'000'000);
          const auto coin = static_cast<std::int32_t>(
              alternating ? flips.below(static_cast<std::uint64_t>(indices.back()), 2) : random.below(number + 2, 2));
          expected.push_back(kind.flip == Flip::none ? 0 : alternating && kind.odd_epoch ? 1 - coin : coin);
          expected.push_back(start(2 * (first_place + b), 32));
          expected.push_back(start(2 * (first_place + b) + 1, 1'000'000));
        }
        const Tensor draws(backend, {images, 6}, DType::int32);
        backend.draw_augmentation({.indices = Tensor::from_host(backend, {images}, indices),
                                   .draws = draws,
                                   .seed = seed,
                                   .stream = stream,
                                   .first_place = static_cast<std::int64_t>(first_place),
                                   .row_padding = 4,
                                   .column_padding = 1'000'000,
                                   .flip = kind.flip,
                                   .flip_stream = stream + 1,
                                   .odd_epoch = kind.odd_epoch,
                                   .cutout = kind.cutout,
                                   .cutout_stream = stream + 2,
                                   .height = 32,
                                   .width = 1'000'000});
        ASSERT_EQ(draws.to_host<std::int32_t>(), expected)
            << backend.description() << ", seed " << seed << ", stream " << stream << ", " << images << " images";
      }
    }
  }
}

}  // namespace stagewise
