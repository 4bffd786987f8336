#include "tensor/tensor.h"

#include "tensor/backend.h"

namespace stagewise {

Tensor::Tensor(Backend& backend, Shape shape, DType dtype)
    : backend_(&backend), shape_(shape), count_(shape.count()), dtype_(dtype) {
  // By division: the product would wrap round.
  require(static_cast<std::size_t>(count_) <= CachingAllocator::kMaxBytes / size_of(dtype),
          "[tensor] expected a shape of at most 2^62 bytes, got ", shape, " of ", name_of(dtype));
  CachingAllocator& allocator = backend.allocator();
  const std::size_t size = bytes();
  storage_ = std::shared_ptr<void>(allocator.allocate(size),
                                   [&allocator, size](void* pointer) { allocator.deallocate(pointer, size); });
}

Tensor Tensor::from_doubles(Backend& backend, Shape shape, std::span<const double> values, DType dtype) {
  if (dtype == DType::float64) return from_host(backend, shape, values);
  if (dtype == DType::bfloat16) {
    std::vector<BFloat16> narrow;
    for (const double value : values) narrow.emplace_back(value);
    return from_host(backend, shape, narrow);
  }
  require(dtype == DType::float32, "[tensor] expected a floating-point type, got ", name_of(dtype));
  return from_host(backend, shape, std::vector<float>(values.begin(), values.end()));
}

Tensor Tensor::full(Backend& backend, Shape shape, double value, DType dtype) {
  Tensor tensor(backend, shape, dtype);
  backend.fill(tensor, value);
  return tensor;
}

Tensor Tensor::reshaped(Shape shape) const {
  require(shape.count() == count_, "[reshape] expected a shape of ", count_, " elements, got ", shape);
  Tensor tensor = *this;
  tensor.shape_ = shape;
  return tensor;
}

Tensor Tensor::clone() const {
  Tensor tensor(*backend_, shape_, dtype_);
  backend_->copy(*this, tensor);
  return tensor;
}

std::vector<double> Tensor::to_doubles() const {
  const auto widen = [](const auto& values) {
    std::vector<double> wide;
    wide.reserve(values.size());
    for (const auto value : values) wide.push_back(static_cast<double>(value));
    return wide;
  };
  switch (dtype_) {
    case DType::uint8: return widen(to_host<std::uint8_t>());
    case DType::int32: return widen(to_host<std::int32_t>());
    case DType::bfloat16: return widen(to_host<BFloat16>());
    case DType::float32: return widen(to_host<float>());
    case DType::float64: return to_host<double>();
  }
  return {};
}

void Tensor::wrong_dtype(DType asked) const {
  fail("[tensor] expected elements of type ", name_of(asked), ", got ", name_of(dtype_), " of shape ", shape_);
}

void Tensor::upload(const void* values, std::int64_t count) const {
  require(count == count_, "[tensor] expected ", count_, " values for shape ", shape_, ", got ", count);
  if (count > 0) backend_->copy_from_host(values, *this);
}

void Tensor::download(void* values) const {
  if (count_ > 0) backend_->copy_to_host(*this, values);
}

}  // namespace stagewise
