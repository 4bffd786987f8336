// Crop, flip, normalise and cut out: bytes are gathered row by row, then turned into floats by the vector. One work
// item is an image.
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

/// The index mirrored back into 0..size-1, the edge not repeated.
std::int64_t reflected(std::int64_t index, std::int64_t size) {
  if (size == 1) return 0;
  if (index < 0) index = -index;
  return index < size ? index : 2 * size - 2 - index;
}

}  // namespace

void CpuBackend::augment(const Augment& call) {
  const std::int64_t height = call.images.shape()[1], width = call.images.shape()[2], channels = call.images.shape()[3];
  const std::int64_t row_bytes = width * channels, image_bytes = height * row_bytes;
  std::vector<float> scale(static_cast<std::size_t>(row_bytes));
  for (std::int64_t i = 0; i < row_bytes; ++i) {
    scale[static_cast<std::size_t>(i)] = call.scale.data<float>()[i % channels];
  }
  const FeatureMap x(call.x);
  pool_.run(call.x.shape()[0], [&](std::int64_t b) {
    const std::int32_t* const draw = call.draws.data<std::int32_t>() + (call.first + b) * 6;
    if (call.labels.defined()) {
      call.labels.data<std::int32_t>()[b] = call.image_labels.data<std::int32_t>()[draw[0]];
    }
    const std::uint8_t* const image = call.images.data<std::uint8_t>() + draw[0] * image_bytes;
    const std::int64_t top = draw[4], left = std::clamp<std::int64_t>(draw[5], 0, width),
                       right = std::clamp<std::int64_t>(draw[5] + call.cutout, left, width);
    thread_local std::vector<std::uint8_t> row;
    row.resize(static_cast<std::size_t>(row_bytes));
    for (std::int64_t h = 0; h < height; ++h) {
      const std::uint8_t* from = image + reflected(h + draw[1], height) * row_bytes;
      for (std::int64_t w = 0; w < width; ++w) {
        const std::int64_t unflipped = draw[3] != 0 ? width - 1 - w : w;
        const std::uint8_t* const pixel = from + reflected(unflipped + draw[2], width) * channels;
        for (std::int64_t c = 0; c < channels; ++c) row[static_cast<std::size_t>(w * channels + c)] = pixel[c];
      }
      const std::int64_t at = b * image_bytes + h * row_bytes;
      float* const out = x.target(Scratch::result, at, row_bytes);
      kernels_.bytes_to_floats(row.data(), scale.data(), call.offset.data<float>() + h * row_bytes, out, row_bytes);
      if (h >= top && h < top + call.cutout) std::fill(out + left * channels, out + right * channels, 0.0F);
      x.written(kernels_, out, at, row_bytes);
    }
  });
}

}  // namespace stagewise::cpu
