// From the data set's bytes, which stay on the device, to a batch: crop, flip, normalise and cut out in one pass.
//
//   x[b,h,w,c] = images[i, reflect(h + row), reflect(w' + column), c] * scale[c] - offset[h,w,c],
//   w' = w or W-1-w, and draws[first + b] = (i, row, column, flip, top, left); reflect(-1) = 1;
//   and 0 in the square of `cutout` pixels a side that begins at (top, left); labels[b] = image_labels[i]
//
// Bytes: one in and one element out, and the offsets from cache. FLOPs: 2 an element. A block takes one image, its
// threads run over neighbouring elements, so writes are whole lines. An image of 3 channels gives 16-byte accesses
// nothing to hold on to: the shift moves by 3 bytes. Deterministic.
#include "cuda/kernel_tools.h"

namespace stagewise::cuda {
namespace {

/// The index mirrored back into 0..size-1, the edge not repeated.
__device__ int reflected(int index, int size) {
  if (size == 1) return 0;
  if (index < 0) index = -index;
  return index < size ? index : 2 * size - 2 - index;
}

template <class T>
__global__ void augment_kernel(const std::uint8_t* images, const std::int32_t* draws, const float* scale,
                               const float* offset, T* x, int height, int width, int channels, int cutout,
                               const std::int32_t* image_labels, std::int32_t* labels) {
  const std::int32_t* const draw = draws + static_cast<std::int64_t>(blockIdx.x) * 6;
  if (labels != nullptr && threadIdx.x == 0) labels[blockIdx.x] = image_labels[draw[0]];
  const int row = draw[1], column = draw[2], top = draw[4], left = draw[5];
  const bool flip = draw[3] != 0;
  const int size = height * width * channels;
  const std::uint8_t* const image = images + static_cast<std::int64_t>(draw[0]) * size;
  T* const out = x + static_cast<std::int64_t>(blockIdx.x) * size;
  for (int i = static_cast<int>(threadIdx.x); i < size; i += kBlock) {
    const int c = i % channels, w = i / channels % width, h = i / channels / width;
    const int from_row = reflected(h + row, height);
    const int from_column = reflected((flip ? width - 1 - w : w) + column, width);
    const float byte = image[(from_row * width + from_column) * channels + c];
    const bool cut = h >= top && h < top + cutout && w >= left && w < left + cutout;
    out[i] = from_float<T>(cut ? 0.0f : byte * scale[c] - offset[i]);
  }
}

}  // namespace

void augment(const Augment& call, cudaStream_t stream) {
  const Shape& shape = call.x.shape();
  if (call.x.count() == 0) return;
  with_map_type(call.x.dtype(), [&]<class T>(T) {
    augment_kernel<<<blocks_for(shape[0], 1), kBlock, 0, stream>>>(
        call.images.data<std::uint8_t>(), call.draws.data<std::int32_t>() + 6 * call.first, call.scale.data<float>(),
        call.offset.data<float>(), elements<T>(call.x), static_cast<int>(shape[1]), static_cast<int>(shape[2]),
        static_cast<int>(shape[3]), static_cast<int>(call.cutout), call.image_labels.data<std::int32_t>(),
        call.labels.data<std::int32_t>());
    STAGEWISE_CHECK_LAUNCH(augment_kernel);
  });
}

}  // namespace stagewise::cuda
