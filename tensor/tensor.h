// A tensor: a shape, an element type, and a buffer on a device. Copying a Tensor copies the handle, not the elements.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/error.h"
#include "tensor/shape.h"

namespace stagewise {

class Backend;

class Tensor {
 public:
  /// No tensor: defined() is false.
  Tensor() = default;
  /// Uninitialised elements in memory of `backend`, which must outlive the tensor. Errors: throws Error for a shape of
  /// more than CachingAllocator::kMaxBytes.
  Tensor(Backend& backend, Shape shape, DType dtype = DType::float32);

  /// A copy of `values`, row-major. Errors: throws Error when shape.count() != values.size().
  template <class T>
  static Tensor from_host(Backend& backend, Shape shape, std::span<const T> values) {
    Tensor tensor(backend, shape, dtype_of<T>());
    tensor.upload(values.data(), static_cast<std::int64_t>(values.size()));
    return tensor;
  }
  template <class T>
  static Tensor from_host(Backend& backend, Shape shape, const std::vector<T>& values) {
    return from_host(backend, shape, std::span<const T>(values));
  }
  /// Floating-point `values`, stored as `dtype` (bfloat16, float32 or float64).
  static Tensor from_doubles(Backend& backend, Shape shape, std::span<const double> values, DType dtype);
  /// All elements `value` (rounded to `dtype`).
  static Tensor full(Backend& backend, Shape shape, double value, DType dtype = DType::float32);
  static Tensor zeros(Backend& backend, Shape shape, DType dtype = DType::float32) {
    return full(backend, shape, 0.0, dtype);
  }

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  std::int64_t count() const { return count_; }
  std::size_t bytes() const { return static_cast<std::size_t>(count_) * size_of(dtype_); }
  Backend& backend() const { return *backend_; }

  /// The device address of the first element: only the backend may follow it. nullptr when not defined().
  void* address() const { return storage_.get(); }
  /// The same, typed. Errors: throws Error when T is not the element type.
  template <class T>
  T* data() const {
    if (defined() && dtype_ != dtype_of<T>()) wrong_dtype(dtype_of<T>());
    return static_cast<T*>(storage_.get());
  }

  /// The same elements under another shape of the same count.
  Tensor reshaped(Shape shape) const;
  /// A tensor of its own with the same elements.
  Tensor clone() const;

  /// The elements, copied to the host; waits for the device. Errors: throws Error when T is not the element type.
  template <class T>
  std::vector<T> to_host() const {
    std::vector<T> values(static_cast<std::size_t>(count_));
    if (dtype_ != dtype_of<T>()) wrong_dtype(dtype_of<T>());
    download(values.data());
    return values;
  }
  /// The elements of a tensor of any type as doubles; waits for the device.
  std::vector<double> to_doubles() const;

 private:
  [[noreturn]] void wrong_dtype(DType asked) const;
  void upload(const void* values, std::int64_t count) const;
  void download(void* values) const;

  std::shared_ptr<void> storage_;
  Backend* backend_ = nullptr;
  Shape shape_;
  std::int64_t count_ = 0;
  DType dtype_ = DType::float32;
};

}  // namespace stagewise
