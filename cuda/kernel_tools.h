// What the .cu files share: element types, 16-byte accesses, how work is cut, sums over a warp.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "cuda/check.h"
#include "cuda/kernels.h"

namespace stagewise::cuda {

constexpr int kWarp = 32;
constexpr int kBlock = 256;  // threads a block, where nothing speaks for another number

/// Elements that fit one 16-byte access.
template <class T>
constexpr int kLanesOf = 16 / static_cast<int>(sizeof(T));

/// Calls body(T()) with the element type of a feature map.
template <class Body>
void with_map_type(DType dtype, const Body& body) {
  require(dtype == DType::float32 || dtype == DType::bfloat16,
          "[cuda] expected feature maps of float32 or bfloat16, got ", name_of(dtype));
  if (dtype == DType::bfloat16) {
    body(__nv_bfloat16());
  } else {
    body(float());
  }
}

/// The elements of a feature map, nullptr for an undefined tensor.
template <class T>
T* elements(const Tensor& map) {
  return static_cast<T*>(map.address());
}

/// Calls body.operator()<T, kLanes>() with the element type of `map` and the channels that one thread takes at once: as
/// many as 16 bytes hold, or one where the number of channels is no multiple of that.
template <class Body>
void with_type_and_lanes(const Tensor& map, const Body& body) {
  with_map_type(map.dtype(), [&]<class T>(T) {
    if (map.shape().back() % kLanesOf<T> == 0) {
      body.template operator()<T, kLanesOf<T>>();
    } else {
      body.template operator()<T, 1>();
    }
  });
}

inline int blocks_for(std::int64_t threads, int block = kBlock) {
  const std::int64_t blocks = (threads + block - 1) / block;
  require(blocks <= INT32_MAX, "[cuda] expected a problem of fewer than 2^31 blocks, got ", blocks);
  return static_cast<int>(blocks);
}

/// A thread's number in the whole grid.
__device__ inline std::int64_t global_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }
template <class T>
__device__ T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

/// A few elements, widened to float in registers.
template <int kLanes>
struct Floats {
  float at[kLanes];
};

/// Reads kLanes elements: in accesses of 16 bytes where they fill some (`from` is then aligned to 16), or one by one.
template <int kLanes, class T>
__device__ Floats<kLanes> load(const T* from) {
  Floats<kLanes> values;
  if constexpr (kLanes % kLanesOf<T> == 0) {
#pragma unroll
    for (int first = 0; first < kLanes; first += kLanesOf<T>) {
      const uint4 bits = *reinterpret_cast<const uint4*>(from + first);
      T narrow[kLanesOf<T>];
      memcpy(narrow, &bits, sizeof bits);
#pragma unroll
      for (int lane = 0; lane < kLanesOf<T>; ++lane) values.at[first + lane] = to_float(narrow[lane]);
    }
  } else {
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) values.at[lane] = to_float(from[lane]);
  }
  return values;
}

template <int kLanes, class T>
__device__ void store(const Floats<kLanes>& values, T* to) {
  if constexpr (kLanes % kLanesOf<T> == 0) {
#pragma unroll
    for (int first = 0; first < kLanes; first += kLanesOf<T>) {
      T narrow[kLanesOf<T>];
#pragma unroll
      for (int lane = 0; lane < kLanesOf<T>; ++lane) narrow[lane] = from_float<T>(values.at[first + lane]);
      uint4 bits;
      memcpy(&bits, narrow, sizeof bits);
      *reinterpret_cast<uint4*>(to + first) = bits;
    }
  } else {
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) to[lane] = from_float<T>(values.at[lane]);
  }
}

/// max(x, 0); a NaN stays one.
__device__ inline float relu(float x) { return x < 0.0f ? 0.0f : x; }

/// The sum over a warp, in every lane, always added in the same order.
__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

}  // namespace stagewise::cuda
