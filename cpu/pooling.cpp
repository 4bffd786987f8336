// Average pooling over windows that don't overlap; one work item is an image.
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

/// Calls body(pixel of x, pixel of y) for every pixel of an image that lies in a window.
template <class Body>
void for_window_pixels(const AveragePool& call, const Body& body) {
  const std::int64_t width = call.x.shape()[2], rows = call.y.shape()[1], columns = call.y.shape()[2];
  for (std::int64_t h = 0; h < rows * call.height; ++h) {
    for (std::int64_t w = 0; w < columns * call.width; ++w) {
      body(h * width + w, h / call.height * columns + w / call.width);
    }
  }
}

}  // namespace

void CpuBackend::average_pool_forward(const AveragePool& call) {
  const std::int64_t images = call.x.shape()[0], channels = call.x.shape()[3];
  const std::int64_t x_image = call.x.count() / images, y_image = call.y.count() / images;
  pool_.run(images, [&](std::int64_t image) {
    const float* const x = call.x.data<float>() + image * x_image;
    float* const y = call.y.data<float>() + image * y_image;
    std::fill_n(y, y_image, 0.0f);
    for_window_pixels(call, [&](std::int64_t from, std::int64_t to) {
      kernels_.add(y + to * channels, x + from * channels, y + to * channels, channels);
    });
    kernels_.scale(1.0f / static_cast<float>(call.height * call.width), y, y_image);
  });
}

void CpuBackend::average_pool_backward(const AveragePool& call) {
  const std::int64_t images = call.x.shape()[0], channels = call.x.shape()[3];
  const std::int64_t x_image = call.x.count() / images, y_image = call.y.count() / images;
  const float share = 1.0f / static_cast<float>(call.height * call.width);
  pool_.run(images, [&](std::int64_t image) {
    float* const dx = call.x.data<float>() + image * x_image;
    const float* const dy = call.y.data<float>() + image * y_image;
    std::fill_n(dx, x_image, 0.0f);
    for_window_pixels(call, [&](std::int64_t to, std::int64_t from) {
      kernels_.axpy(share, dy + from * channels, dx + to * channels, channels);
    });
  });
}

}  // namespace stagewise::cpu
