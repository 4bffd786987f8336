#include "tensor/draws.h"

#include "tensor/random.h"

namespace stagewise {
namespace {

template <class T>
void draw_as(const DrawNumbers& call, T* out) {
  const Random random(call.seed, call.stream);
  const bool normal = call.distribution == DrawNumbers::Distribution::normal;
  for (std::int64_t i = 0; i < call.out.count(); ++i) {
    const auto index = static_cast<std::uint64_t>(i);
    const double number = normal ? random.normal(index) : 2.0 * random.uniform(index) - 1.0;
    out[i] = static_cast<T>(call.scale * number);
  }
}

}  // namespace

void draw_on_host(const DrawNumbers& call, float* out) { draw_as(call, out); }

void draw_on_host(const DrawNumbers& call, double* out) { draw_as(call, out); }

void draw_on_host(const DrawAugmentation& call, std::span<const std::int32_t> indices, std::int32_t* draws) {
  const Random random(call.seed, call.stream), random_flip(call.seed, call.flip_stream),
      random_cutout(call.seed, call.cutout_stream);
  const auto flip_of = [&](std::int32_t index, std::uint64_t number) -> std::uint64_t {
    switch (call.flip) {
      case Flip::none: return 0;
      case Flip::random: return random.below(number, 2);
      case Flip::alternating:
        return random_flip.below(static_cast<std::uint64_t>(index), 2) ^ (call.odd_epoch ? 1U : 0U);
    }
    return 0;
  };
  const auto shift = [&](std::uint64_t index, std::int64_t padding) {
    const auto drawn = random.below(index, static_cast<std::uint64_t>(2 * padding + 1));
    return static_cast<std::int32_t>(static_cast<std::int64_t>(drawn) - padding);
  };
  const auto cutout_start = [&](std::uint64_t index, std::int64_t size) -> std::int32_t {
    if (call.cutout == 0) return 0;
    const auto centre = static_cast<std::int64_t>(random_cutout.below(index, static_cast<std::uint64_t>(size)));
    return static_cast<std::int32_t>(centre - call.cutout / 2);
  };
  for (std::size_t b = 0; b < indices.size(); ++b) {
    const std::uint64_t place = static_cast<std::uint64_t>(call.first_place) + b, number = 3 * place;
    std::int32_t* const draw = draws + 6 * b;
    draw[0] = indices[b];
    draw[1] = shift(number, call.row_padding);
    draw[2] = shift(number + 1, call.column_padding);
    draw[3] = static_cast<std::int32_t>(flip_of(draw[0], number + 2));
    draw[4] = cutout_start(2 * place, call.height);
    draw[5] = cutout_start(2 * place + 1, call.width);
  }
}

}  // namespace stagewise
