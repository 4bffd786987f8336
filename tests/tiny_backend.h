// The least that trains: float32 in host memory, plain loops, nothing fused. What stands here is what a new backend has
// to bring; tensor/composed_backend.h makes the rest of it. To be read beside docs/tensor.md, "A backend in a weekend".
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "tensor/composed_backend.h"

namespace stagewise {

class TinyBackend : public ComposedBackend {
 public:
  std::string name() const override { return "tiny"; }
  std::string description() const override { return "tiny: the least that trains"; }
  bool supports(DType dtype) const override { return dtype == DType::float32; }

  // First: memory, without which there is no tensor.
  CachingAllocator& allocator() override { return allocator_; }
  void copy_from_host(const void* from, const Tensor& to) override { std::memcpy(to.address(), from, to.bytes()); }
  void copy_to_host(const Tensor& from, void* to) override { std::memcpy(to, from.address(), from.bytes()); }
  void copy(const Tensor& from, const Tensor& to) override { std::memmove(to.address(), from.address(), from.bytes()); }
  void synchronise() override {}
  void fill(const Tensor& tensor, double value) override {
    const auto fill_as = [&]<class T>(T* elements) { std::fill_n(elements, tensor.count(), static_cast<T>(value)); };
    if (tensor.dtype() == DType::int32) return fill_as(tensor.data<std::int32_t>());
    if (tensor.dtype() == DType::float64) return fill_as(tensor.data<double>());
    fill_as(tensor.data<float>());
  }

  // Third: the batch norm. Channel c of element i is i % C.
  void batch_norm_moments(const BatchNormMoments& call) override {
    const Tensor& x = call.x;
    const std::int64_t C = call.mean.count(), pixels = x.count() / C;
    for (std::int64_t c = 0; c < C; ++c) {
      double sum = 0, squares = 0;
      for (std::int64_t i = c; i < x.count(); i += C) sum += at(x, i);
      at(call.mean, c) = static_cast<float>(sum / double(pixels));
      for (std::int64_t i = c; i < x.count(); i += C) squares += std::pow(at(x, i) - sum / double(pixels), 2);
      at(call.variance, c) = static_cast<float>(squares / double(pixels));
    }
    if (call.prepare.defined()) batch_norm_prepare(call.prepare);
  }

  void batch_norm_prepare(const BatchNormPrepare& call) override {
    for (std::int64_t c = 0; c < call.mean.count(); ++c) {
      at(call.inverse_deviation, c) = static_cast<float>(1 / std::sqrt(at(call.variance, c) + call.epsilon));
      at(call.scale, c) = at(call.weight, c) * at(call.inverse_deviation, c);
      if (!call.running_mean.defined()) continue;
      const auto move = [&](float& running, double batch) {
        running += static_cast<float>(call.momentum * (batch - running));
      };
      const double unbias = double(call.pixels) / double(std::max<std::int64_t>(call.pixels - 1, 1));
      move(at(call.running_mean, c), at(call.mean, c));
      move(at(call.running_variance, c), at(call.variance, c) * unbias);
    }
  }

  void batch_norm_forward(const BatchNormForward& call) override {
    for (std::int64_t i = 0; i < call.x.count(); ++i) {
      float y = normalised(call.batch_norm, call.x, i);
      if (call.addend_batch_norm.defined()) {
        y += normalised(call.addend_batch_norm, call.addend, i);
      } else if (call.addend.defined()) {
        y += at(call.addend, i);
      }
      at(call.y, i) = call.relu && y < 0 ? 0.0F : y;
    }
  }

  void batch_norm_backward_reduce(const BatchNormBackwardReduce& call) override {
    const std::int64_t C = call.x.shape().back();
    for (std::int64_t c = 0; c < C; ++c) {
      double weight = 0, bias = 0;
      for (std::int64_t i = c; i < call.x.count(); i += C) {
        const float dz = !call.y.defined() || at(call.y, i) > 0 ? at(call.dy, i) : 0.0F;
        if (call.y.defined()) at(call.dz, i) = dz;
        weight += double(dz) * x_hat(call.batch_norm, call.x, i);
        bias += dz;
      }
      at(call.gradients.weight, c) = static_cast<float>(weight);
      at(call.gradients.bias, c) = static_cast<float>(bias);
    }
  }

  void batch_norm_backward_data(const BatchNormBackwardData& call) override {
    const std::int64_t C = call.x.shape().back(), pixels = call.x.count() / C;
    for (std::int64_t i = 0; i < call.x.count(); ++i) {
      const float common =
          at(call.gradients.bias, i % C) + x_hat(call.batch_norm, call.x, i) * at(call.gradients.weight, i % C);
      at(call.dx, i) = at(call.batch_norm.scale, i % C) * (at(call.dz, i) - common / float(pixels));
    }
  }

  // Fourth: the end of the network, and the step.
  void average_pool_forward(const AveragePool& call) override {
    fill(call.y, 0.0);
    for_each_pooled(call,
                    [&](std::int64_t in, std::int64_t out, float share) { at(call.y, out) += share * at(call.x, in); });
  }
  void average_pool_backward(const AveragePool& call) override {
    fill(call.x, 0.0);
    for_each_pooled(call,
                    [&](std::int64_t in, std::int64_t out, float share) { at(call.x, in) = share * at(call.y, out); });
  }

  void softmax_cross_entropy(const SoftmaxCrossEntropy& call) override {
    const std::int64_t N = call.logits.shape()[0], K = call.logits.shape()[1];
    double losses = 0, right = 0;
    for (std::int64_t n = 0; n < N; ++n) {
      const float* const logits = call.logits.data<float>() + n * K;
      const std::int64_t label = call.labels.data<std::int32_t>()[n];
      const double nan = std::numeric_limits<double>::quiet_NaN(), largest = *std::max_element(logits, logits + K);
      const double spread = label >= 0 && label < K ? call.smoothing / double(K) : nan;
      double sum = 0;
      for (std::int64_t k = 0; k < K; ++k) sum += std::exp(logits[k] - largest);
      for (std::int64_t k = 0; k < K; ++k) {
        const double target = spread + (k == label ? 1 - call.smoothing : 0.0);
        const double log_probability = logits[k] - largest - std::log(sum);
        if (target != 0) losses -= target * log_probability;
        if (!call.d_logits.defined()) continue;
        at(call.d_logits, n * K + k) = static_cast<float>((std::exp(log_probability) - target) / double(N));
      }
      if (std::max_element(logits, logits + K) - logits == label) right += 1;
    }
    at(call.loss, 0) = static_cast<float>(losses / double(N));
    if (!call.totals.defined()) return;
    call.totals.data<double>()[0] += losses;
    call.totals.data<double>()[1] += right;
  }

  void sgd_step(const SgdStep& call) override {
    const auto rate = call.rate.defined() ? at(call.rate, 0) : static_cast<float>(call.learning_rate);
    const auto momentum = static_cast<float>(call.momentum);
    for (const SgdStep::Parameter& parameter : call.parameters) {
      for (std::int64_t i = 0; i < parameter.value.count(); ++i) {
        float &value = at(parameter.value, i), &velocity = at(parameter.velocity, i);
        const float gradient = at(parameter.gradient, i) + static_cast<float>(parameter.weight_decay) * value;
        velocity = momentum * velocity + gradient;
        value -= rate * (call.nesterov ? gradient + momentum * velocity : velocity);
      }
    }
  }

 protected:
  // Second: the convolution in three directions, with nothing fused.
  void bare_convolution_forward(const BareConvolution& call) override {
    fill(call.y, 0.0);
    for_each_tap(call, [&](std::int64_t x, std::int64_t weight, std::int64_t y) {
      at(call.y, y) += at(call.x, x) * at(call.weight, weight);
    });
  }
  void bare_convolution_backward_data(const BareConvolution& call) override {
    fill(call.x, 0.0);
    for_each_tap(call, [&](std::int64_t x, std::int64_t weight, std::int64_t y) {
      at(call.x, x) += at(call.y, y) * at(call.weight, weight);
    });
  }
  void bare_convolution_backward_weights(const BareConvolution& call) override {
    fill(call.weight, 0.0);
    for_each_tap(call, [&](std::int64_t x, std::int64_t weight, std::int64_t y) {
      at(call.weight, weight) += at(call.x, x) * at(call.y, y);
    });
  }

 private:
  static float& at(const Tensor& tensor, std::int64_t i) { return static_cast<float*>(tensor.address())[i]; }
  static float x_hat(const BatchNormCoefficients& by, const Tensor& x, std::int64_t i) {
    const std::int64_t c = i % x.shape().back();
    return (at(x, i) - at(by.mean, c)) * at(by.inverse_deviation, c);
  }
  static float normalised(const BatchNormCoefficients& by, const Tensor& x, std::int64_t i) {
    const std::int64_t c = i % x.shape().back();
    return (at(x, i) - at(by.mean, c)) * at(by.scale, c) + at(by.shift, c);
  }

  /// Calls visit(x, weight, y), the indices of three elements, for every product of the convolution.
  template <class Visit>
  static void for_each_tap(const BareConvolution& call, const Visit& visit) {
    const Shape &x = call.x.shape(), &filter = call.weight.shape(), &y = call.y.shape();
    for (std::int64_t pixel = 0; pixel < y[0] * y[1] * y[2]; ++pixel) {
      const std::int64_t n = pixel / y[2] / y[1], p = pixel / y[2] % y[1], q = pixel % y[2];
      for (std::int64_t tap = 0; tap < filter[1] * filter[2]; ++tap) {
        const std::int64_t h = p * call.options.stride + tap / filter[2] - call.options.padding_before;
        const std::int64_t w = q * call.options.stride + tap % filter[2] - call.options.padding_before;
        if (h < 0 || h >= x[1] || w < 0 || w >= x[2]) continue;
        for (std::int64_t k = 0; k < y[3]; ++k) {
          for (std::int64_t c = 0; c < x[3]; ++c) {
            visit(((n * x[1] + h) * x[2] + w) * x[3] + c, (k * filter[1] * filter[2] + tap) * x[3] + c,
                  pixel * y[3] + k);
          }
        }
      }
    }
  }

  /// Calls visit(x, y, share) for every element of x that lies in a window.
  template <class Visit>
  static void for_each_pooled(const AveragePool& call, const Visit& visit) {
    const Shape &x = call.x.shape(), &y = call.y.shape();
    const float share = 1.0F / static_cast<float>(call.height * call.width);
    for (std::int64_t i = 0; i < call.x.count(); ++i) {
      const std::int64_t c = i % x[3], w = i / x[3] % x[2], h = i / x[3] / x[2] % x[1], n = i / x[3] / x[2] / x[1];
      if (h / call.height >= y[1] || w / call.width >= y[2]) continue;
      visit(i, ((n * y[1] + h / call.height) * y[2] + w / call.width) * y[3] + c, share);
    }
  }

  // Guarded: a test sees what is written beyond a tensor's end, or read before it is written.
  CachingAllocator allocator_{{[](std::size_t bytes) { return ::operator new (bytes, std::align_val_t{64}); },
                               [](void* pointer, std::size_t) { ::operator delete (pointer, std::align_val_t{64}); }},
                              /*guarded=*/true};
};

}  // namespace stagewise
