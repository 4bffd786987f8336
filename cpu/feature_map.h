// Feature maps as the kernels see them. All arithmetic is float32. Kernels that memory binds read and write a map that
// is stored in bfloat16 themselves; for the others it passes through buffers, a few rows at a time, that stay in L1.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"
#include "tensor/tensor.h"

namespace stagewise::cpu {

class FeatureMap {
 public:
  FeatureMap() = default;
  explicit FeatureMap(const Tensor& tensor)
      : data_(static_cast<char*>(tensor.address())), narrow_(tensor.dtype() == DType::bfloat16) {}

  bool operator==(const FeatureMap&) const = default;
  bool defined() const { return data_ != nullptr; }
  bool narrow() const { return narrow_; }
  /// The elements themselves; float32 only.
  float* wide() const { return reinterpret_cast<float*>(data_); }
  std::int64_t bytes(std::int64_t elements) const { return elements * (narrow_ ? 2 : 4); }
  const void* address(std::int64_t offset) const { return data_ + bytes(offset); }
  /// The elements from `offset` on, for kernels that take both types.
  Elements elements(std::int64_t offset) const { return {defined() ? data_ + bytes(offset) : nullptr, narrow_}; }

  /// `count` elements from `offset` on, to read; nullptr when not defined().
  const float* read(const Kernels& kernels, Scratch buffer, std::int64_t offset, std::int64_t count) const {
    if (!narrow_) return defined() ? wide() + offset : nullptr;
    float* const values = scratch_floats(buffer, count);
    kernels.widen(static_cast<const std::uint16_t*>(address(offset)), values, count);
    return values;
  }
  /// Where to compute `count` elements from `offset` on; `written` puts them where they belong.
  float* target(Scratch buffer, std::int64_t offset, std::int64_t count) const {
    return narrow_ ? scratch_floats(buffer, count) : wide() + offset;
  }
  void written(const Kernels& kernels, const float* values, std::int64_t offset, std::int64_t count) const {
    if (narrow_) kernels.narrow(values, reinterpret_cast<std::uint16_t*>(data_ + bytes(offset)), count);
  }

 private:
  char* data_ = nullptr;
  bool narrow_ = false;
};

/// `count` elements of a map from `offset` on, if it is defined.
inline Prefetch soon(const FeatureMap& map, std::int64_t offset, std::int64_t count) {
  return map.defined() ? Prefetch{map.address(offset), map.bytes(count)} : Prefetch{};
}

/// Elements of a map that pass through the buffers at once.
constexpr std::int64_t kBufferedFloats = 2048;

}  // namespace stagewise::cpu
