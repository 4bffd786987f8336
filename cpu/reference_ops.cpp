// Element-wise ops and the linear layer.
#include "cpu/reference_kernels.h"

namespace stagewise::reference {
namespace {

template <class T>
void linear_gradients(const LinearBackward& call) {
  const std::int64_t N = call.dy.shape()[0], K = call.dy.shape()[1], C = call.x.shape()[1];
  const T* x = call.x.data<T>();
  const T* weight = call.weight.data<T>();
  const T* dy = call.dy.data<T>();
  if (call.dx.defined()) {
    for (std::int64_t n = 0; n < N; ++n) {
      for (std::int64_t c = 0; c < C; ++c) {
        double sum = 0.0;
        for (std::int64_t k = 0; k < K; ++k) sum += double(dy[n * K + k]) * double(weight[k * C + c]);
        call.dx.data<T>()[n * C + c] = static_cast<T>(sum);
      }
    }
  }
  if (call.d_weight.defined()) {
    for (std::int64_t k = 0; k < K; ++k) {
      for (std::int64_t c = 0; c < C; ++c) {
        double sum = 0.0;
        for (std::int64_t n = 0; n < N; ++n) sum += double(dy[n * K + k]) * double(x[n * C + c]);
        call.d_weight.data<T>()[k * C + c] = static_cast<T>(sum);
      }
    }
  }
  if (call.d_bias.defined()) {
    for (std::int64_t k = 0; k < K; ++k) {
      double sum = 0.0;
      for (std::int64_t n = 0; n < N; ++n) sum += double(dy[n * K + k]);
      call.d_bias.data<T>()[k] = static_cast<T>(sum);
    }
  }
}

}  // namespace

void add(const Tensor& a, const Tensor& b, const Tensor& out) {
  with_element_type(a, [&]<class T>(T) {
    for (std::int64_t i = 0; i < a.count(); ++i) out.data<T>()[i] = a.data<T>()[i] + b.data<T>()[i];
  });
}

void relu_forward(const Tensor& x, const Tensor& y) {
  with_element_type(x, [&]<class T>(T) {
    for (std::int64_t i = 0; i < x.count(); ++i) y.data<T>()[i] = relu(x.data<T>()[i]);
  });
}

void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) {
  with_element_type(dy, [&]<class T>(T) {
    for (std::int64_t i = 0; i < dy.count(); ++i) dx.data<T>()[i] = y.data<T>()[i] > 0 ? dy.data<T>()[i] : T(0);
  });
}

void linear_forward(const LinearForward& call) {
  const std::int64_t N = call.y.shape()[0], K = call.y.shape()[1], C = call.x.shape()[1];
  with_element_type(call.x, [&]<class T>(T) {
    const T* x = call.x.data<T>();
    const T* weight = call.weight.data<T>();
    for (std::int64_t n = 0; n < N; ++n) {
      for (std::int64_t k = 0; k < K; ++k) {
        double sum = call.bias.defined() ? double(call.bias.data<T>()[k]) : 0.0;
        for (std::int64_t c = 0; c < C; ++c) sum += double(x[n * C + c]) * double(weight[k * C + c]);
        call.y.data<T>()[n * K + k] = static_cast<T>(sum);
      }
    }
  });
}

void linear_backward(const LinearBackward& call) {
  with_element_type(call.dy, [&]<class T>(T) { linear_gradients<T>(call); });
}

}  // namespace stagewise::reference
