// Batch normalisation (Ioffe and Szegedy 2015) of NHWC images: channel c of element i is i % C.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "cpu/reference_kernels.h"

namespace stagewise::reference {
namespace {

/// The coefficients' elements, to read as doubles.
template <class T>
struct Coefficients {
  const T *mean, *inverse_deviation, *scale, *shift;

  explicit Coefficients(const BatchNormCoefficients& from)
      : mean(from.mean.data<T>()),
        inverse_deviation(from.inverse_deviation.data<T>()),
        scale(from.scale.data<T>()),
        shift(from.shift.data<T>()) {}

  double normalised(double x, std::int64_t c) const { return (x - double(mean[c])) * double(inverse_deviation[c]); }
  double output(double x, std::int64_t c) const { return (x - double(mean[c])) * double(scale[c]) + double(shift[c]); }
};

std::vector<double> zero_sums(std::int64_t channels) {
  return std::vector<double>(static_cast<std::size_t>(channels), 0.0);
}

template <class T>
void moments(const BatchNormMoments& call) {
  const std::int64_t C = call.x.shape().back(), pixels = call.x.count() / C;
  const T* x = call.x.data<T>();
  std::vector<double> means = zero_sums(C), variances = zero_sums(C);
  for (std::int64_t i = 0; i < call.x.count(); ++i) means[i % C] += double(x[i]) / double(pixels);
  // A second pass: E[x^2] - mean^2 would lose every digit where the mean is much larger than the deviation.
  for (std::int64_t i = 0; i < call.x.count(); ++i) {
    const double deviation = double(x[i]) - means[i % C];
    variances[i % C] += deviation * deviation / double(pixels);
  }
  for (std::int64_t c = 0; c < C; ++c) {
    call.mean.data<T>()[c] = static_cast<T>(means[c]);
    call.variance.data<T>()[c] = static_cast<T>(variances[c]);
  }
}

template <class T>
void prepare(const BatchNormPrepare& call) {
  const T* mean = call.mean.data<T>();
  const T* variance = call.variance.data<T>();
  const T* weight = call.weight.data<T>();
  for (std::int64_t c = 0; c < call.mean.count(); ++c) {
    const double inverse_deviation = 1.0 / std::sqrt(double(variance[c]) + call.epsilon);
    call.inverse_deviation.data<T>()[c] = static_cast<T>(inverse_deviation);
    call.scale.data<T>()[c] = static_cast<T>(double(weight[c]) * inverse_deviation);
  }
  if (!call.running_mean.defined()) return;

  T* running_mean = call.running_mean.data<T>();
  T* running_variance = call.running_variance.data<T>();
  // A single pixel has no unbiased variance; its biased one, zero, is the best there is.
  const double unbias = double(call.pixels) / double(std::max<std::int64_t>(call.pixels - 1, 1));
  for (std::int64_t c = 0; c < call.mean.count(); ++c) {
    const double old_mean = running_mean[c], old_variance = running_variance[c];
    running_mean[c] = static_cast<T>(old_mean + call.momentum * (double(mean[c]) - old_mean));
    running_variance[c] = static_cast<T>(old_variance + call.momentum * (double(variance[c]) * unbias - old_variance));
  }
}

template <class T>
void forward(const BatchNormForward& call) {
  const std::int64_t C = call.x.shape().back();
  const Coefficients<T> coefficients(call.batch_norm), addend_coefficients(call.addend_batch_norm);
  const T* x = call.x.data<T>();
  const T* addend = call.addend.data<T>();
  T* y = call.y.data<T>();
  for (std::int64_t i = 0; i < call.x.count(); ++i) {
    double value = coefficients.output(x[i], i % C);
    if (call.addend_batch_norm.defined()) {
      value += addend_coefficients.output(addend[i], i % C);
    } else if (addend != nullptr) {
      value += double(addend[i]);
    }
    y[i] = static_cast<T>(call.relu ? relu(value) : value);
  }
}

template <class T>
void backward_reduce(const BatchNormBackwardReduce& call) {
  const std::int64_t C = call.x.shape().back();
  const Coefficients<T> coefficients(call.batch_norm);
  const T* x = call.x.data<T>();
  const T* dz = call.y.defined() ? call.dz.data<T>() : call.dy.data<T>();
  if (call.y.defined()) relu_backward(call.dy, call.y, call.dz);

  std::vector<double> weight_sums = zero_sums(C), bias_sums = zero_sums(C);
  for (std::int64_t i = 0; i < call.x.count(); ++i) {
    weight_sums[i % C] += double(dz[i]) * coefficients.normalised(x[i], i % C);
    bias_sums[i % C] += double(dz[i]);
  }
  for (std::int64_t c = 0; c < C; ++c) {
    call.gradients.weight.data<T>()[c] = static_cast<T>(weight_sums[c]);
    call.gradients.bias.data<T>()[c] = static_cast<T>(bias_sums[c]);
  }
}

template <class T>
void backward_data(const BatchNormBackwardData& call) {
  const std::int64_t C = call.x.shape().back(), pixels = call.x.count() / C;
  const Coefficients<T> coefficients(call.batch_norm);
  const T* x = call.x.data<T>();
  const T* dz = call.dz.data<T>();
  const T* weight_gradient = call.gradients.weight.data<T>();
  const T* bias_gradient = call.gradients.bias.data<T>();
  T* dx = call.dx.data<T>();
  for (std::int64_t i = 0; i < call.x.count(); ++i) {
    const std::int64_t c = i % C;
    const double common = double(bias_gradient[c]) + coefficients.normalised(x[i], c) * double(weight_gradient[c]);
    dx[i] = static_cast<T>(double(coefficients.scale[c]) * (double(dz[i]) - common / double(pixels)));
  }
}

}  // namespace

void batch_norm_moments(const BatchNormMoments& call) {
  with_element_type(call.x, [&]<class T>(T) { moments<T>(call); });
  if (call.prepare.defined()) batch_norm_prepare(call.prepare);
}

void batch_norm_prepare(const BatchNormPrepare& call) {
  with_element_type(call.mean, [&]<class T>(T) { prepare<T>(call); });
}

void batch_norm_forward(const BatchNormForward& call) {
  with_element_type(call.x, [&]<class T>(T) { forward<T>(call); });
}

void batch_norm_backward_reduce(const BatchNormBackwardReduce& call) {
  with_element_type(call.x, [&]<class T>(T) { backward_reduce<T>(call); });
}

void batch_norm_backward_data(const BatchNormBackwardData& call) {
  with_element_type(call.x, [&]<class T>(T) { backward_data<T>(call); });
}

}  // namespace stagewise::reference
