// What training draws, by cuRAND's Philox: weights as they start, and the crops, flips and cutouts of a batch.
//
//   out[i] = scale * normal(i), or scale * (2 uniform(i) - 1)
//   draws[b] = (indices[b], row, column, flip, top, left), from the numbers at 3 place, 3 place + 1 and 3 place + 2 (or
//   alternating flips from those at the images' indices, the other way in odd epochs), 2 place and 2 place + 1
//
// as tensor/backend.h says. cuRAND turns bits into numbers otherwise than the host does, so tensor/distributions.h does
// it here too, in double: a weight has the same bits wherever it was drawn. That costs 69 FLOPs in double a normal
// number, once, before training.
//
// Bytes: 4 a number; 28 an image. A thread takes four numbers, of one block of Philox's or two, and writes 16 bytes at
// once. Deterministic: a number depends on (seed, stream, i) alone.
#include <curand_philox4x32_x.h>

#include "cuda/kernel_tools.h"
#include "tensor/distributions.h"

namespace stagewise::cuda {
namespace {

constexpr int kNumbers = 4;  // a thread

/// The bits at 4 number to 4 number + 3, as curand_kernel.h's curand_init(seed, stream, 4 number) and curand4 give
/// them; that header would put 250 KB of other generators' tables into the program for every generation of cards.
__device__ uint4 block_of(std::uint64_t seed, std::uint64_t stream, std::uint64_t number) {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  return curand_Philox4x32_10(make_uint4(low(number), high(number), low(stream), high(stream)),
                              make_uint2(low(seed), high(seed)));
}

/// As Random::below.
__device__ std::int32_t below(std::uint64_t seed, std::uint64_t stream, std::uint64_t index, int bound) {
  const uint4 bits = block_of(seed, stream, index);
  const std::uint64_t wide = (static_cast<std::uint64_t>(bits.x) << 32) | bits.y;
  return static_cast<std::int32_t>(__umul64hi(wide, static_cast<std::uint64_t>(bound)));
}

template <DrawNumbers::Distribution kDistribution>
__global__ void draw_numbers_kernel(float* out, std::int64_t count, double scale, std::uint64_t seed,
                                    std::uint64_t stream) {
  const std::int64_t thread = global_thread(), first = kNumbers * thread;
  if (first >= count) return;
  double numbers[kNumbers];
  if constexpr (kDistribution == DrawNumbers::Distribution::normal) {
    const uint4 a = block_of(seed, stream, 2 * thread), b = block_of(seed, stream, 2 * thread + 1);
    numbers[0] = normal_of(a.x, a.y);
    numbers[1] = normal_of(a.z, a.w);
    numbers[2] = normal_of(b.x, b.y);
    numbers[3] = normal_of(b.z, b.w);
  } else {
    const uint4 bits = block_of(seed, stream, thread);
    const std::uint32_t words[kNumbers] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < kNumbers; ++i) numbers[i] = 2.0 * uniform_of(words[i]) - 1.0;  // exact, fused or not
  }
  Floats<kNumbers> rounded;
#pragma unroll
  for (int i = 0; i < kNumbers; ++i) rounded.at[i] = static_cast<float>(scale * numbers[i]);
  if (count - first >= kNumbers) return store(rounded, out + first);
#pragma unroll
  for (int i = 0; i < kNumbers; ++i) {
    if (i < count - first) out[first + i] = rounded.at[i];
  }
}

/// What draw_augmentation_kernel takes, as in DrawAugmentation.
struct Draws {
  const std::int32_t* indices;
  std::int32_t* draws;
  int images;
  std::uint64_t seed, stream, first_place;
  int row_padding, column_padding;
  Flip flip;
  std::uint64_t flip_stream;
  bool odd_epoch;
  int cutout;
  std::uint64_t cutout_stream;
  int height, width;
};

/// A thread: one image.
__global__ void draw_augmentation_kernel(const Draws call) {
  const std::int64_t b = global_thread();
  if (b >= call.images) return;
  const std::uint64_t place = call.first_place + static_cast<std::uint64_t>(b), number = 3 * place;
  const std::int32_t index = call.indices[b];
  std::int32_t* const draw = call.draws + 6 * b;
  draw[0] = index;
  draw[1] = below(call.seed, call.stream, number, 2 * call.row_padding + 1) - call.row_padding;
  draw[2] = below(call.seed, call.stream, number + 1, 2 * call.column_padding + 1) - call.column_padding;
  const bool alternating = call.flip == Flip::alternating;
  const std::int32_t coin = call.flip == Flip::none ? 0
                            : alternating ? below(call.seed, call.flip_stream, static_cast<std::uint64_t>(index), 2)
                                          : below(call.seed, call.stream, number + 2, 2);
  draw[3] = alternating && call.odd_epoch ? 1 - coin : coin;
  const auto cutout_start = [&](std::uint64_t at, int size) {
    return call.cutout == 0 ? 0 : below(call.seed, call.cutout_stream, at, size) - call.cutout / 2;
  };
  draw[4] = cutout_start(2 * place, call.height);
  draw[5] = cutout_start(2 * place + 1, call.width);
}

}  // namespace

void draw_numbers(const DrawNumbers& call, cudaStream_t stream) {
  using Distribution = DrawNumbers::Distribution;
  const std::int64_t count = call.out.count();
  if (count == 0) return;
  const auto kernel = call.distribution == Distribution::normal ? draw_numbers_kernel<Distribution::normal>
                                                                : draw_numbers_kernel<Distribution::uniform>;
  kernel<<<blocks_for(count, kNumbers * kBlock), kBlock, 0, stream>>>(call.out.data<float>(), count, call.scale,
                                                                      call.seed, call.stream);
  STAGEWISE_CHECK_LAUNCH(draw_numbers_kernel);
}

void draw_augmentation(const DrawAugmentation& call, cudaStream_t stream) {
  const auto images = static_cast<int>(call.indices.count());
  if (images == 0) return;
  draw_augmentation_kernel<<<blocks_for(images), kBlock, 0, stream>>>(
      Draws{.indices = call.indices.data<std::int32_t>(),
            .draws = call.draws.data<std::int32_t>(),
            .images = images,
            .seed = call.seed,
            .stream = call.stream,
            .first_place = static_cast<std::uint64_t>(call.first_place),
            .row_padding = static_cast<int>(call.row_padding),
            .column_padding = static_cast<int>(call.column_padding),
            .flip = call.flip,
            .flip_stream = call.flip_stream,
            .odd_epoch = call.odd_epoch,
            .cutout = static_cast<int>(call.cutout),
            .cutout_stream = call.cutout_stream,
            .height = static_cast<int>(call.height),
            .width = static_cast<int>(call.width)});
  STAGEWISE_CHECK_LAUNCH(draw_augmentation_kernel);
}

}  // namespace stagewise::cuda
