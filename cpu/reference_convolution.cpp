// Convolutions. All three passes walk over the same taps: output pixel (n,p,q) sees input pixel (n,h,w) through filter
// position (r,s), h = p * stride + r - padding, w likewise. Forward, the tap adds x * weight to y; by data, it sends
// dy * weight back to x; by weights, it adds dy * x to the weight. What lies in the padding is zero and adds nothing.
#include <cstddef>
#include <vector>

#include "cpu/reference_kernels.h"

namespace stagewise::reference {
namespace {

/// Calls visit(input, output, tap) for every tap that lies inside the image: the indices of an input pixel among N*H*W,
/// of an output pixel among N*P*Q, and of a filter position among R*S.
template <class Visit>
void for_each_tap(const Shape& x, const Shape& weight, const Shape& y, const Conv2dOptions& options, Visit&& visit) {
  for (std::int64_t n = 0; n < y[0]; ++n) {
    for (std::int64_t p = 0; p < y[1]; ++p) {
      for (std::int64_t q = 0; q < y[2]; ++q) {
        for (std::int64_t r = 0; r < weight[1]; ++r) {
          const std::int64_t h = p * options.stride + r - options.padding_before;
          if (h < 0 || h >= x[1]) continue;
          for (std::int64_t s = 0; s < weight[2]; ++s) {
            const std::int64_t w = q * options.stride + s - options.padding_before;
            if (w < 0 || w >= x[2]) continue;
            visit((n * x[1] + h) * x[2] + w, (n * y[1] + p) * y[2] + q, r * weight[2] + s);
          }
        }
      }
    }
  }
}

std::vector<double> zero_sums(const Tensor& tensor) {
  return std::vector<double>(static_cast<std::size_t>(tensor.count()), 0.0);
}

/// relu(batch_norm(x)) in a tensor of its own.
Tensor normalised(const Tensor& x, const BatchNormCoefficients& coefficients) {
  const Tensor a(x.backend(), x.shape(), x.dtype());
  BatchNormForward forward;
  forward.x = x;
  forward.batch_norm = coefficients;
  forward.relu = true;
  forward.y = a;
  batch_norm_forward(forward);
  return a;
}

template <class T>
void forward(const ConvolutionForward& call, const Tensor& input) {
  const std::int64_t K = call.weight.shape()[0], C = call.weight.shape()[3];
  const std::int64_t taps = call.weight.shape()[1] * call.weight.shape()[2];
  const T* x = input.data<T>();
  const T* weight = call.weight.data<T>();
  std::vector<double> sums = zero_sums(call.y);
  for_each_tap(input.shape(), call.weight.shape(), call.y.shape(), call.options,
               [&](std::int64_t in, std::int64_t out, std::int64_t tap) {
                 for (std::int64_t k = 0; k < K; ++k) {
                   const T* weight_row = weight + (k * taps + tap) * C;
                   double sum = 0.0;
                   for (std::int64_t c = 0; c < C; ++c) sum += double(x[in * C + c]) * double(weight_row[c]);
                   sums[out * K + k] += sum;
                 }
               });
  const T* bias = call.bias.data<T>();
  const T* addend = call.addend.data<T>();  // may be y: read before it is written
  T* y = call.y.data<T>();
  for (std::int64_t i = 0; i < call.y.count(); ++i) {
    double value = sums[i];
    if (bias != nullptr) value += double(bias[i % K]);
    if (addend != nullptr) value += double(addend[i]);
    y[i] = static_cast<T>(call.relu && value < 0 ? 0.0 : value);
  }
}

template <class T>
void backward_data(const ConvolutionBackwardData& call) {
  const std::int64_t K = call.weight.shape()[0], C = call.weight.shape()[3];
  const std::int64_t taps = call.weight.shape()[1] * call.weight.shape()[2];
  const T* dy = call.dy.data<T>();
  const T* weight = call.weight.data<T>();
  std::vector<double> sums = zero_sums(call.dx);
  for_each_tap(call.dx.shape(), call.weight.shape(), call.dy.shape(), call.options,
               [&](std::int64_t in, std::int64_t out, std::int64_t tap) {
                 for (std::int64_t k = 0; k < K; ++k) {
                   const T* weight_row = weight + (k * taps + tap) * C;
                   const double gradient = dy[out * K + k];
                   for (std::int64_t c = 0; c < C; ++c) sums[in * C + c] += gradient * double(weight_row[c]);
                 }
               });
  const T* addend = call.addend.data<T>();  // may be dx: read before it is written
  T* dx = call.dx.data<T>();
  for (std::int64_t i = 0; i < call.dx.count(); ++i) {
    dx[i] = static_cast<T>(addend != nullptr ? sums[i] + double(addend[i]) : sums[i]);
  }
}

template <class T>
void backward_weights(const ConvolutionBackwardWeights& call, const Tensor& input, const Tensor& output_gradient) {
  const std::int64_t K = call.d_weight.shape()[0], C = call.d_weight.shape()[3];
  const std::int64_t taps = call.d_weight.shape()[1] * call.d_weight.shape()[2];
  const T* x = input.data<T>();
  const T* dy = output_gradient.data<T>();
  std::vector<double> sums = zero_sums(call.d_weight);
  for_each_tap(input.shape(), call.d_weight.shape(), output_gradient.shape(), call.options,
               [&](std::int64_t in, std::int64_t out, std::int64_t tap) {
                 for (std::int64_t k = 0; k < K; ++k) {
                   double* sum_row = sums.data() + (k * taps + tap) * C;
                   const double gradient = dy[out * K + k];
                   for (std::int64_t c = 0; c < C; ++c) sum_row[c] += gradient * double(x[in * C + c]);
                 }
               });
  T* d_weight = call.d_weight.data<T>();
  for (std::int64_t i = 0; i < call.d_weight.count(); ++i) d_weight[i] = static_cast<T>(sums[i]);

  if (!call.d_bias.defined()) return;
  std::vector<double> bias_sums = zero_sums(call.d_bias);
  for (std::int64_t i = 0; i < output_gradient.count(); ++i) bias_sums[i % K] += double(dy[i]);
  T* d_bias = call.d_bias.data<T>();
  for (std::int64_t k = 0; k < K; ++k) d_bias[k] = static_cast<T>(bias_sums[k]);
}

}  // namespace

void convolution_forward(const ConvolutionForward& call) {
  const Tensor input = call.input_batch_norm.defined() ? normalised(call.x, call.input_batch_norm) : call.x;
  with_element_type(call.x, [&]<class T>(T) { forward<T>(call, input); });
  if (!call.mean.defined()) return;
  batch_norm_moments({.x = call.y, .mean = call.mean, .variance = call.variance, .prepare = call.output_batch_norm});
}

void convolution_backward_data(const ConvolutionBackwardData& call) {
  with_element_type(call.dy, [&]<class T>(T) { backward_data<T>(call); });
  if (!call.input_batch_norm.defined()) return;
  batch_norm_backward_reduce(
      {.dy = call.dx,
       .y = call.relu_output.defined() ? call.relu_output : normalised(call.x, call.input_batch_norm),
       .x = call.x,
       .batch_norm = call.input_batch_norm,
       .dz = call.dx,
       .gradients = call.gradients});
}

void convolution_backward_weights(const ConvolutionBackwardWeights& call) {
  const Tensor input = call.input_batch_norm.defined() ? normalised(call.x, call.input_batch_norm) : call.x;
  Tensor output_gradient = call.dy;
  if (call.output_batch_norm.defined()) {
    batch_norm_backward_data({.dz = call.dy,
                              .x = call.y,
                              .batch_norm = call.output_batch_norm,
                              .gradients = call.gradients,
                              .dx = call.dy_out});
    output_gradient = call.dy_out;
  }
  with_element_type(call.x, [&]<class T>(T) { backward_weights<T>(call, input, output_gradient); });
}

}  // namespace stagewise::reference
