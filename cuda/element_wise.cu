// Element by element: out[i] = f(a[i], b[i]), NHWC or any other layout.
//
// Bytes: each input read once, the output written once (add in float32: 12 a element). FLOPs: at most two an element,
// so memory binds. A thread handles 16 bytes; the last few elements, one each. Deterministic.
#include "cuda/kernel_tools.h"

namespace stagewise::cuda {
namespace {

struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct ReluForward {
  __device__ float operator()(float x, float) const { return relu(x); }
};
struct ReluBackward {
  __device__ float operator()(float dy, float y) const { return y > 0.0f ? dy : 0.0f; }
};

/// out = operation(a, b). The first count / kLanes threads take kLanes elements each, the next take the rest one by
/// one.
template <class T, class Operation>
__global__ void element_wise_kernel(const T* a, const T* b, T* out, std::int64_t count, Operation operation) {
  constexpr int kLanes = kLanesOf<T>;
  const std::int64_t thread = global_thread(), vectors = count / kLanes;
  if (thread < vectors) {
    Floats<kLanes> values = load<kLanes>(a + thread * kLanes);
    const Floats<kLanes> others = load<kLanes>(b + thread * kLanes);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) values.at[lane] = operation(values.at[lane], others.at[lane]);
    store(values, out + thread * kLanes);
    return;
  }
  const std::int64_t i = vectors * kLanes + (thread - vectors);
  if (i < count) out[i] = from_float<T>(operation(to_float(a[i]), to_float(b[i])));
}

template <class Operation>
void element_wise(const Tensor& a, const Tensor& b, const Tensor& out, Operation operation, cudaStream_t stream) {
  const std::int64_t count = out.count();
  if (count == 0) return;
  with_map_type(out.dtype(), [&]<class T>(T) {
    const std::int64_t threads = count / kLanesOf<T> + count % kLanesOf<T>;
    element_wise_kernel<<<blocks_for(threads), kBlock, 0, stream>>>(elements<T>(a), elements<T>(b), elements<T>(out),
                                                                    count, operation);
    STAGEWISE_CHECK_LAUNCH(element_wise_kernel);
  });
}

template <class Bits>
__global__ void fill_kernel(Bits* to, std::int64_t count, Bits bits) {
  const std::int64_t i = global_thread();
  if (i < count) to[i] = bits;
}

template <class Value>
void fill_as(const Tensor& tensor, Value value, cudaStream_t stream) {
  // The bits are what is stored: the device never computes with them.
  using Bits = std::conditional_t<sizeof(Value) == 8, std::uint64_t,
                                  std::conditional_t<sizeof(Value) == 4, std::uint32_t, std::uint16_t>>;
  Bits bits;
  std::memcpy(&bits, &value, sizeof bits);
  fill_kernel<<<blocks_for(tensor.count()), kBlock, 0, stream>>>(elements<Bits>(tensor), tensor.count(), bits);
  STAGEWISE_CHECK_LAUNCH(fill_kernel);
}

constexpr int kCastLanes = kLanesOf<__nv_bfloat16>;  // 16 bytes on the narrow side, 32 on the wide one

template <class From, class To>
__global__ void cast_kernel(const From* from, To* to, std::int64_t count) {
  const std::int64_t first = global_thread() * kCastLanes;
  if (first + kCastLanes <= count) {
    store(load<kCastLanes>(from + first), to + first);
    return;
  }
  for (std::int64_t i = first; i < count; ++i) to[i] = from_float<To>(to_float(from[i]));
}

template <class T, int kLanes>
__global__ void add_bias_kernel(const T* x, const float* bias, const T* addend, bool with_relu, T* y,
                                std::int64_t vectors, int channels) {
  const std::int64_t thread = global_thread();
  if (thread >= vectors) return;
  const std::int64_t at = thread * kLanes;
  const int channel = static_cast<int>(at % channels);
  Floats<kLanes> values = load<kLanes>(x + at), others{};
  if (addend != nullptr) others = load<kLanes>(addend + at);
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) {
    float value = values.at[lane] + others.at[lane];
    if (bias != nullptr) value += bias[channel + lane];
    values.at[lane] = with_relu ? relu(value) : value;
  }
  store(values, y + at);
}

}  // namespace

void add(const Tensor& a, const Tensor& b, const Tensor& out, cudaStream_t stream) {
  element_wise(a, b, out, Add(), stream);
}

void relu_forward(const Tensor& x, const Tensor& y, cudaStream_t stream) {
  element_wise(x, x, y, ReluForward(), stream);
}

void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx, cudaStream_t stream) {
  element_wise(dy, y, dx, ReluBackward(), stream);
}

void fill(const Tensor& tensor, double value, cudaStream_t stream) {
  if (tensor.count() == 0) return;
  if (value == 0.0 || tensor.dtype() == DType::uint8) {
    STAGEWISE_CHECK(cudaMemsetAsync(tensor.address(), static_cast<std::uint8_t>(value), tensor.bytes(), stream));
    return;
  }
  switch (tensor.dtype()) {
    case DType::uint8: return;
    case DType::int32: return fill_as(tensor, static_cast<std::int32_t>(value), stream);
    case DType::bfloat16: return fill_as(tensor, BFloat16(value).bits, stream);
    case DType::float32: return fill_as(tensor, static_cast<float>(value), stream);
    case DType::float64: return fill_as(tensor, value, stream);
  }
}

void cast(const Tensor& from, const Tensor& to, cudaStream_t stream) {
  const std::int64_t count = to.count();
  if (count == 0) return;
  with_map_type(from.dtype(), [&]<class From>(From) {
    with_map_type(to.dtype(), [&]<class To>(To) {
      cast_kernel<<<blocks_for((count + kCastLanes - 1) / kCastLanes), kBlock, 0, stream>>>(elements<From>(from),
                                                                                            elements<To>(to), count);
      STAGEWISE_CHECK_LAUNCH(cast_kernel);
    });
  });
}

void add_bias(const Tensor& x, const Tensor& bias, const Tensor& addend, bool relu, const Tensor& y,
              cudaStream_t stream) {
  const int channels = static_cast<int>(y.shape().back());
  with_type_and_lanes(y, [&]<class T, int kLanes>() {
    const std::int64_t vectors = y.count() / kLanes;
    add_bias_kernel<T, kLanes><<<blocks_for(vectors), kBlock, 0, stream>>>(
        elements<T>(x), bias.data<float>(), elements<T>(addend), relu, elements<T>(y), vectors, channels);
    STAGEWISE_CHECK_LAUNCH(add_bias_kernel);
  });
}

}  // namespace stagewise::cuda
