// Pooling, and the shortcut without parameters.
#include <cstddef>
#include <vector>

#include "cpu/reference_kernels.h"

namespace stagewise::reference {
namespace {

/// Calls visit(input, output) for every element of x that lies in a window, and its window's element of y.
template <class Visit>
void for_each_pooled(const AveragePool& call, Visit&& visit) {
  const Shape &x = call.x.shape(), &y = call.y.shape();
  const std::int64_t C = y[3];
  for (std::int64_t n = 0; n < y[0]; ++n) {
    for (std::int64_t h = 0; h < y[1] * call.height; ++h) {
      for (std::int64_t w = 0; w < y[2] * call.width; ++w) {
        const std::int64_t input = ((n * x[1] + h) * x[2] + w) * C;
        const std::int64_t output = ((n * y[1] + h / call.height) * y[2] + w / call.width) * C;
        for (std::int64_t c = 0; c < C; ++c) visit(input + c, output + c);
      }
    }
  }
}

/// Calls visit(input, output) with the largest element of x in each window, and the window's element of y.
template <class T, class Visit>
void for_each_maximum(const Tensor& x, const Shape& y, std::int64_t window, const Conv2dOptions& options,
                      Visit&& visit) {
  const std::int64_t H = x.shape()[1], W = x.shape()[2], C = x.shape()[3];
  const T* const values = x.data<T>();
  // A NaN beats every number, and then stays.
  const auto beats = [](T value, T best) { return value > best || (value != value && best == best); };
  for (std::int64_t output = 0; output < y.count(); ++output) {
    const std::int64_t c = output % C, q = output / C % y[2], p = output / C / y[2] % y[1],
                       n = output / C / y[2] / y[1];
    std::int64_t largest = -1;
    for (std::int64_t r = 0; r < window; ++r) {
      for (std::int64_t s = 0; s < window; ++s) {
        const std::int64_t h = p * options.stride - options.padding_before + r;
        const std::int64_t w = q * options.stride - options.padding_before + s;
        if (h < 0 || h >= H || w < 0 || w >= W) continue;
        const std::int64_t input = ((n * H + h) * W + w) * C + c;
        if (largest < 0 || beats(values[input], values[largest])) largest = input;
      }
    }
    visit(largest, output);
  }
}

/// Calls visit(input, output) for every element of x that a shortcut passes on, and where to.
template <class Visit>
void for_each_passed(const PaddedShortcut& call, Visit&& visit) {
  const Shape &x = call.x.shape(), &y = call.y.shape();
  for (std::int64_t n = 0; n < y[0]; ++n) {
    for (std::int64_t p = 0; p < y[1]; ++p) {
      for (std::int64_t q = 0; q < y[2]; ++q) {
        const std::int64_t input = ((n * x[1] + p * call.stride) * x[2] + q * call.stride) * x[3];
        const std::int64_t output = ((n * y[1] + p) * y[2] + q) * y[3] + call.zeros_before;
        for (std::int64_t c = 0; c < x[3]; ++c) visit(input + c, output + c);
      }
    }
  }
}

}  // namespace

void average_pool_forward(const AveragePool& call) {
  with_element_type(call.x, [&]<class T>(T) {
    std::vector<double> sums(static_cast<std::size_t>(call.y.count()), 0.0);
    for_each_pooled(call, [&](std::int64_t in, std::int64_t out) { sums[out] += double(call.x.data<T>()[in]); });
    const double window = double(call.height * call.width);
    for (std::int64_t i = 0; i < call.y.count(); ++i) call.y.data<T>()[i] = static_cast<T>(sums[i] / window);
  });
}

void average_pool_backward(const AveragePool& call) {
  with_element_type(call.y, [&]<class T>(T) {
    T* dx = call.x.data<T>();
    const T* dy = call.y.data<T>();
    const double window = double(call.height * call.width);
    for (std::int64_t i = 0; i < call.x.count(); ++i) dx[i] = 0;
    for_each_pooled(call,
                    [&](std::int64_t in, std::int64_t out) { dx[in] = static_cast<T>(double(dy[out]) / window); });
  });
}

void max_pool_forward(const MaxPoolForward& call) {
  with_element_type(call.x, [&]<class T>(T) {
    for_each_maximum<T>(call.x, call.y.shape(), call.window, call.options,
                        [&](std::int64_t in, std::int64_t out) { call.y.data<T>()[out] = call.x.data<T>()[in]; });
  });
}

void max_pool_backward(const MaxPoolBackward& call) {
  with_element_type(call.x, [&]<class T>(T) {
    std::vector<double> sums(static_cast<std::size_t>(call.dx.count()), 0.0);
    for_each_maximum<T>(call.x, call.dy.shape(), call.window, call.options,
                        [&](std::int64_t in, std::int64_t out) { sums[in] += double(call.dy.data<T>()[out]); });
    for (std::int64_t i = 0; i < call.dx.count(); ++i) call.dx.data<T>()[i] = static_cast<T>(sums[i]);
  });
}

void padded_shortcut_forward(const PaddedShortcut& call) {
  with_element_type(call.x, [&]<class T>(T) {
    for (std::int64_t i = 0; i < call.y.count(); ++i) call.y.data<T>()[i] = 0;
    for_each_passed(call, [&](std::int64_t in, std::int64_t out) { call.y.data<T>()[out] = call.x.data<T>()[in]; });
  });
}

void padded_shortcut_backward(const PaddedShortcut& call) {
  with_element_type(call.x, [&]<class T>(T) {
    for (std::int64_t i = 0; i < call.x.count(); ++i) call.x.data<T>()[i] = 0;
    for_each_passed(call, [&](std::int64_t in, std::int64_t out) { call.x.data<T>()[in] = call.y.data<T>()[out]; });
  });
}

}  // namespace stagewise::reference
