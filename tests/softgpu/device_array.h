// Device memory for the software GPU's own tests.
#pragma once

#include <cuda_runtime.h>

#include <vector>

namespace softgpu_test {

/// Device memory that is given back; `count` elements from the host.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) : count_(values.size()) {
    cudaMalloc(&pointer_, count_ * sizeof(T));
    cudaMemcpy(pointer_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice);
  }
  ~DeviceArray() { cudaFree(pointer_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* get() const { return pointer_; }
  std::vector<T> read() const {
    std::vector<T> result(count_);
    cudaMemcpy(result.data(), pointer_, count_ * sizeof(T), cudaMemcpyDeviceToHost);
    return result;
  }

 private:
  T* pointer_ = nullptr;
  std::size_t count_;
};

}  // namespace softgpu_test
