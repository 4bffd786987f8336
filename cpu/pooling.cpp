// Average pooling over windows that don't overlap; one work item is an image.
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
void CpuBackend::average_pool_forward(const AveragePool& call) {
  const std::int64_t images = call.x.shape()[0], channels = call.x.shape()[3], row = call.x.shape()[2] * channels;
  const std::int64_t x_image = call.x.count() / images, y_image = call.y.count() / images;
  const std::int64_t rows = call.y.shape()[1], columns = call.y.shape()[2];
  const FeatureMap x(call.x);
  pool_.sweep(images, [&](std::int64_t image) {
    float* const y = call.y.data<float>() + image * y_image;
    std::fill_n(y, y_image, 0.0f);
    for (std::int64_t h = 0; h < rows * call.height; ++h) {
      const float* const from = x.read(kernels_, Scratch::first_map, image * x_image + h * row, row);
      for (std::int64_t w = 0; w < columns * call.width; ++w) {
        float* const to = y + (h / call.height * columns + w / call.width) * channels;
        kernels_.add(to, from + w * channels, to, channels);
      }
    }
    kernels_.scale(1.0f / static_cast<float>(call.height * call.width), y, y_image);
  });
}

void CpuBackend::average_pool_backward(const AveragePool& call) {
  const std::int64_t images = call.x.shape()[0], channels = call.x.shape()[3], row = call.x.shape()[2] * channels;
  const std::int64_t x_image = call.x.count() / images, y_image = call.y.count() / images;
  const std::int64_t rows = call.y.shape()[1], columns = call.y.shape()[2];
  const float share = 1.0f / static_cast<float>(call.height * call.width);
  const FeatureMap x(call.x);
  pool_.sweep(images, [&](std::int64_t image) {
    const float* const dy = call.y.data<float>() + image * y_image;
    for (std::int64_t h = 0; h < call.x.shape()[1]; ++h) {
      const std::int64_t at = image * x_image + h * row;
      float* const dx = x.target(Scratch::result, at, row);
      std::fill_n(dx, row, 0.0f);
      for (std::int64_t w = 0; h < rows * call.height && w < columns * call.width; ++w) {
        kernels_.axpy(share, dy + (h / call.height * columns + w / call.width) * channels, dx + w * channels, channels);
      }
      x.written(kernels_, dx, at, row);
    }
  });
}

}  // namespace stagewise::cpu
