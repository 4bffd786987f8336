// The shortcut without parameters; one work item is a row of the output.
#include <algorithm>

#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {

void CpuBackend::padded_shortcut_forward(const PaddedShortcut& call) {
  const Shape &in = call.x.shape(), &out = call.y.shape();
  const FeatureMap x(call.x), y(call.y);
  pool_.sweep(in[0] * out[1], [&](std::int64_t item) {
    const std::int64_t from = (item / out[1] * in[1] + item % out[1] * call.stride) * in[2] * in[3];
    const std::int64_t to = item * out[2] * out[3];
    const float* const x_row = x.read(kernels_, Scratch::first_map, from, in[2] * in[3]);
    float* const y_row = y.target(Scratch::result, to, out[2] * out[3]);
    std::fill_n(y_row, out[2] * out[3], 0.0f);
    for (std::int64_t q = 0; q < out[2]; ++q) {
      std::copy_n(x_row + q * call.stride * in[3], in[3], y_row + q * out[3] + call.zeros_before);
    }
    y.written(kernels_, y_row, to, out[2] * out[3]);
  });
}

void CpuBackend::padded_shortcut_backward(const PaddedShortcut& call) {
  const Shape &in = call.x.shape(), &out = call.y.shape();
  const FeatureMap dx(call.x), dy(call.y);
  pool_.sweep(in[0] * in[1], [&](std::int64_t item) {
    const std::int64_t to = item * in[2] * in[3], h = item % in[1];
    float* const x_row = dx.target(Scratch::result, to, in[2] * in[3]);
    std::fill_n(x_row, in[2] * in[3], 0.0f);
    if (h % call.stride == 0) {
      const std::int64_t from = (item / in[1] * out[1] + h / call.stride) * out[2] * out[3];
      const float* const y_row = dy.read(kernels_, Scratch::first_map, from, out[2] * out[3]);
      for (std::int64_t q = 0; q < out[2]; ++q) {
        std::copy_n(y_row + q * out[3] + call.zeros_before, in[3], x_row + q * call.stride * in[3]);
      }
    }
    dx.written(kernels_, x_row, to, in[2] * in[3]);
  });
}

}  // namespace stagewise::cpu
