// Maxima over windows, a vector of channels at a time. Backward looks the maximum up again, and adds dy to the first pixel
// that has it: every pixel of the window gets dy or zero, so no lane goes its own way. Deterministic: windows in order.
#include "cpu/kernels/all_kernels.h"

STAGEWISE_KERNELS_BEGIN

namespace {

typedef std::int32_t Ints __attribute__((vector_size(kLanes * sizeof(float))));

/// Where `value` takes the place of `best`. A NaN beats every number, and then stays.
inline Ints beats(Floats value, Floats best) { return (value > best) | ((value != value) & (best == best)); }

/// Calls body(q, first, end) for the windows of a row: which columns of the image they cover.
template <class Body>
STAGEWISE_INLINE void for_windows(const MaxPoolRow& job, const Body& body) {
  for (std::int64_t q = 0; q < job.columns; ++q) {
    const std::int64_t left = q * job.stride - job.padding;
    body(q, left < 0 ? 0 : left, smaller(left + job.window, job.width));
  }
}

/// Calls body(pixel's first channel) for the pixels of one window, in order.
template <class Body>
STAGEWISE_INLINE void for_pixels(const MaxPoolRow& job, std::int64_t first, std::int64_t end, const Body& body) {
  for (std::int64_t row = 0; row < job.rows; ++row) {
    for (std::int64_t w = first; w < end; ++w) body((row * job.width + w) * job.channels);
  }
}

}  // namespace

void max_pool_forward(const MaxPoolRow& job) {
  for_windows(job, [&](std::int64_t q, std::int64_t first, std::int64_t end) {
    for_vectors(job.channels, [&](std::int64_t c, auto lanes) {
      Floats best = broadcast(-__builtin_inff());
      for_pixels(job, first, end, [&](std::int64_t pixel) {
        const Floats value = load_first(job.x + pixel + c, lanes);
        best = beats(value, best) ? value : best;
      });
      store_first(job.y + q * job.channels + c, best, lanes);
    });
  });
}

void max_pool_backward(const MaxPoolRow& job) {
  for_windows(job, [&](std::int64_t q, std::int64_t first, std::int64_t end) {
    for_vectors(job.channels, [&](std::int64_t c, auto lanes) {
      Floats best = broadcast(-__builtin_inff());
      Ints number{}, place{};  // where nothing is larger than minus infinity, the first pixel
      for_pixels(job, first, end, [&](std::int64_t pixel) {
        const Floats value = load_first(job.x + pixel + c, lanes);
        const Ints larger = beats(value, best);
        best = larger ? value : best;
        place = larger ? number : place;
        number += 1;
      });
      const Floats gradient = load_first(job.dy + q * job.channels + c, lanes);
      number = Ints{};
      for_pixels(job, first, end, [&](std::int64_t pixel) {
        float* const dx = job.dx + pixel + c;
        store_first(dx, load_first(dx, lanes) + (place == number ? gradient : Floats{}), lanes);
        number += 1;
      });
    });
  });
}

STAGEWISE_KERNELS_END
