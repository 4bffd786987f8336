// Maxima over windows that may overlap; one work item is an image.
//
//   forward   y[p,q,c]  = max of x[h,w,c] over the window's pixels
//   backward  dx[h,w,c] = sum of dy[p,q,c] over the windows whose first maximum x[h,w,c] is
//
// x is read once a window row, y written once; backward looks the maxima up again. Comparisons only, so memory binds.
// Windows are added up in their order, within an image: the bits don't depend on threads.
#include <algorithm>
#include <limits>
#include <vector>

#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

/// A NaN beats every number, and then stays.
bool beats(float value, float best) { return value > best || (value != value && best == best); }

/// The windows of one row of y: how they lie on x, and the largest elements found in them.
class WindowRow {
 public:
  WindowRow(const Shape& x, const Shape& y, std::int64_t window, const Conv2dOptions& options)
      : height_(x[1]),
        width_(x[2]),
        channels_(x[3]),
        columns_(y[2]),
        window_(window),
        options_(options),
        best_(static_cast<std::size_t>(y[2] * y[3])),
        place_(best_.size()) {}

  /// Of the windows in row p of y. `row_of(h)` gives row h of x.
  template <class RowOf>
  void look(std::int64_t p, const RowOf& row_of) {
    std::fill(best_.begin(), best_.end(), -std::numeric_limits<float>::infinity());
    const std::int64_t top = p * options_.stride - options_.padding_before, first_row = std::max<std::int64_t>(top, 0);
    for (std::int64_t q = 0; q < columns_; ++q) {  // where nothing is larger than minus infinity
      const std::int64_t w = std::max<std::int64_t>(left(q), 0);
      for (std::int64_t c = 0; c < channels_; ++c) place_[at(q, c)] = (first_row * width_ + w) * channels_ + c;
    }
    for (std::int64_t h = first_row; h < std::min(top + window_, height_); ++h) {
      const float* const row = row_of(h);
      for (std::int64_t q = 0; q < columns_; ++q) {
        for (std::int64_t w = std::max<std::int64_t>(left(q), 0); w < std::min(left(q) + window_, width_); ++w) {
          for (std::int64_t c = 0; c < channels_; ++c) {
            const float value = row[w * channels_ + c];
            if (!beats(value, best_[at(q, c)])) continue;
            best_[at(q, c)] = value;
            place_[at(q, c)] = (h * width_ + w) * channels_ + c;
          }
        }
      }
    }
  }
  const std::vector<float>& best() const { return best_; }
  /// Where in the image each of them is.
  const std::vector<std::int64_t>& place() const { return place_; }

 private:
  std::int64_t left(std::int64_t q) const { return q * options_.stride - options_.padding_before; }
  std::size_t at(std::int64_t q, std::int64_t c) const { return static_cast<std::size_t>(q * channels_ + c); }

  const std::int64_t height_, width_, channels_, columns_, window_;
  const Conv2dOptions options_;
  std::vector<float> best_;
  std::vector<std::int64_t> place_;
};

}  // namespace

void CpuBackend::max_pool_forward(const MaxPoolForward& call) {
  const Shape &in = call.x.shape(), &out = call.y.shape();
  const std::int64_t x_row = in[2] * in[3], y_row = out[2] * out[3];
  const FeatureMap x(call.x), y(call.y);
  pool_.sweep(in[0], [&](std::int64_t image) {
    WindowRow windows(in, out, call.window, call.options);
    for (std::int64_t p = 0; p < out[1]; ++p) {
      windows.look(
          p, [&](std::int64_t h) { return x.read(kernels_, Scratch::first_map, (image * in[1] + h) * x_row, x_row); });
      const std::int64_t at = (image * out[1] + p) * y_row;
      float* const row = y.target(Scratch::result, at, y_row);
      std::copy(windows.best().begin(), windows.best().end(), row);
      y.written(kernels_, row, at, y_row);
    }
  });
}

void CpuBackend::max_pool_backward(const MaxPoolBackward& call) {
  const Shape &in = call.x.shape(), &out = call.dy.shape();
  const std::int64_t x_row = in[2] * in[3], y_row = out[2] * out[3], x_image = in[1] * x_row;
  const FeatureMap x(call.x), dy(call.dy), dx(call.dx);
  pool_.sweep(in[0], [&](std::int64_t image) {
    WindowRow windows(in, out, call.window, call.options);
    float* const sums = dx.target(Scratch::result, image * x_image, x_image);
    std::fill_n(sums, x_image, 0.0f);
    for (std::int64_t p = 0; p < out[1]; ++p) {
      windows.look(
          p, [&](std::int64_t h) { return x.read(kernels_, Scratch::first_map, (image * in[1] + h) * x_row, x_row); });
      const float* const gradients = dy.read(kernels_, Scratch::second_map, (image * out[1] + p) * y_row, y_row);
      for (std::int64_t i = 0; i < y_row; ++i) sums[windows.place()[static_cast<std::size_t>(i)]] += gradients[i];
    }
    dx.written(kernels_, sums, image * x_image, x_image);
  });
}

}  // namespace stagewise::cpu
