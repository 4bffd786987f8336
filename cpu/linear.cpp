// The fully connected layer. The classifier is small (64 inputs, 10 outputs): dot products and scaled sums do.
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

constexpr std::int64_t kRowsAtOnce = 16;

std::int64_t row_items(std::int64_t rows) { return (rows + kRowsAtOnce - 1) / kRowsAtOnce; }

/// Calls body(row) for the rows of an item.
template <class Body>
void for_rows(std::int64_t item, std::int64_t rows, const Body& body) {
  for (std::int64_t row = item * kRowsAtOnce; row < std::min(rows, (item + 1) * kRowsAtOnce); ++row) body(row);
}

}  // namespace

void CpuBackend::linear_forward(const LinearForward& call) {
  const std::int64_t rows = call.x.shape()[0], inputs = call.x.shape()[1], outputs = call.weight.shape()[0];
  pool_.run(row_items(rows), [&](std::int64_t item) {
    for_rows(item, rows, [&](std::int64_t row) {
      for (std::int64_t k = 0; k < outputs; ++k) {
        const float bias = call.bias.defined() ? call.bias.data<float>()[k] : 0.0f;
        call.y.data<float>()[row * outputs + k] =
            bias + kernels_.dot(call.x.data<float>() + row * inputs, call.weight.data<float>() + k * inputs, inputs);
      }
    });
  });
}

void CpuBackend::linear_backward(const LinearBackward& call) {
  const std::int64_t rows = call.x.shape()[0], inputs = call.x.shape()[1], outputs = call.weight.shape()[0];
  const float* const dy = call.dy.data<float>();
  if (call.dx.defined()) {
    pool_.run(row_items(rows), [&](std::int64_t item) {
      for_rows(item, rows, [&](std::int64_t row) {
        float* const dx = call.dx.data<float>() + row * inputs;
        std::fill_n(dx, inputs, 0.0f);
        for (std::int64_t k = 0; k < outputs; ++k) {
          kernels_.axpy(dy[row * outputs + k], call.weight.data<float>() + k * inputs, dx, inputs);
        }
      });
    });
  }
  pool_.run(outputs, [&](std::int64_t k) {
    float* const d_weight = call.d_weight.defined() ? call.d_weight.data<float>() + k * inputs : nullptr;
    if (d_weight != nullptr) std::fill_n(d_weight, inputs, 0.0f);
    double d_bias = 0;
    for (std::int64_t row = 0; row < rows; ++row) {
      const float slope = dy[row * outputs + k];
      if (d_weight != nullptr) kernels_.axpy(slope, call.x.data<float>() + row * inputs, d_weight, inputs);
      d_bias += slope;
    }
    if (call.d_bias.defined()) call.d_bias.data<float>()[k] = static_cast<float>(d_bias);
  });
}

}  // namespace stagewise::cpu
