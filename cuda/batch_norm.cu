// Batch norm (Ioffe and Szegedy 2015) of x [N,H,W,C], pixel by pixel; the sums over pixels, and the
// coefficients that come of them, are in batch_norm_reduce.cu.
//
//   forward   y  = relu?((x - mean) * scale + shift + addend), the addend a tensor or another batch norm's output
//   backward  dx = scale * (dz - (d_bias + x_hat * d_weight) / pixels), x_hat = (x - mean) * inverse_deviation
//
// Bytes: every map read or written once, 16 at a time where C allows (forward with addend: 12 an element in float32).
// FLOPs: 2 to 5 an element, so memory binds. A thread keeps its channels' coefficients in registers. Deterministic.
#include "cuda/channel_runs.h"

namespace stagewise::cuda {
namespace {

/// scale and shift of a thread's channels, and the mean taken out first: exact where it is large.
template <int kLanes>
struct Affine {
  Floats<kLanes> mean, scale, shift;
  __device__ Affine(const Coefficients& of, int channel)
      : mean(load<kLanes>(of.mean + channel)),
        scale(load<kLanes>(of.scale + channel)),
        shift(load<kLanes>(of.shift + channel)) {}
  __device__ float operator()(float x, int lane) const { return (x - mean.at[lane]) * scale.at[lane] + shift.at[lane]; }
};

enum class Addend { none, tensor, normalised };

template <class T, int kLanes, Addend kAddend>
__global__ void batch_norm_forward_kernel(const T* x, Coefficients coefficients, const T* addend,
                                          Coefficients addend_coefficients, bool with_relu, T* y, std::int64_t pixels,
                                          int channels, int run) {
  const int channel = channel_of_thread<kLanes>();
  if (channel >= channels) return;
  const Affine<kLanes> of_x(coefficients, channel);
  const Affine<kLanes> of_addend(kAddend == Addend::normalised ? addend_coefficients : coefficients, channel);
  for_pixels_of_run(pixels, channels, run, channel, [&](std::int64_t at) {
    Floats<kLanes> values = load<kLanes>(x + at), others;
    if (kAddend != Addend::none) others = load<kLanes>(addend + at);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) {
      float value = of_x(values.at[lane], lane);
      if (kAddend == Addend::tensor) value += others.at[lane];
      if (kAddend == Addend::normalised) value += of_addend(others.at[lane], lane);
      values.at[lane] = with_relu ? relu(value) : value;
    }
    store(values, y + at);
  });
}

template <class T, int kLanes>
__global__ void batch_norm_backward_data_kernel(const T* dz, const T* x, Coefficients coefficients,
                                                const float* d_weight, const float* d_bias, T* dx, std::int64_t pixels,
                                                int channels, int run) {
  const int channel = channel_of_thread<kLanes>();
  if (channel >= channels) return;
  // dx = scale * dz + by_x * (x - mean) + constant.
  const Floats<kLanes> mean = load<kLanes>(coefficients.mean + channel);
  const Floats<kLanes> scale = load<kLanes>(coefficients.scale + channel);
  const Floats<kLanes> inverse_deviation = load<kLanes>(coefficients.inverse_deviation + channel);
  Floats<kLanes> by_x = load<kLanes>(d_weight + channel), constant = load<kLanes>(d_bias + channel);
  const float share = 1.0f / static_cast<float>(pixels);
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) {
    by_x.at[lane] *= -scale.at[lane] * inverse_deviation.at[lane] * share;
    constant.at[lane] *= -scale.at[lane] * share;
  }
  for_pixels_of_run(pixels, channels, run, channel, [&](std::int64_t at) {
    Floats<kLanes> values = load<kLanes>(dz + at);
    const Floats<kLanes> inputs = load<kLanes>(x + at);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) {
      values.at[lane] =
          scale.at[lane] * values.at[lane] + by_x.at[lane] * (inputs.at[lane] - mean.at[lane]) + constant.at[lane];
    }
    store(values, dx + at);
  });
}

}  // namespace

void batch_norm_forward(const BatchNormForward& call, cudaStream_t stream) {
  if (call.y.count() == 0) return;
  with_type_and_lanes(call.x, [&]<class T, int kLanes>() {
    const ChannelRuns cut(call.x, kLanes);
    const auto launch = [&](auto kernel) {
      kernel<<<cut.grid, cut.block, 0, stream>>>(elements<T>(call.x), Coefficients(call.batch_norm),
                                                 elements<T>(call.addend), Coefficients(call.addend_batch_norm),
                                                 call.relu, elements<T>(call.y), cut.pixels, cut.channels, cut.run);
      STAGEWISE_CHECK_LAUNCH(batch_norm_forward_kernel);
    };
    if (!call.addend.defined()) return launch(batch_norm_forward_kernel<T, kLanes, Addend::none>);
    if (!call.addend_batch_norm.defined()) return launch(batch_norm_forward_kernel<T, kLanes, Addend::tensor>);
    launch(batch_norm_forward_kernel<T, kLanes, Addend::normalised>);
  });
}

void batch_norm_backward_data(const BatchNormBackwardData& call, cudaStream_t stream) {
  if (call.dx.count() == 0) return;
  with_type_and_lanes(call.x, [&]<class T, int kLanes>() {
    const ChannelRuns cut(call.x, kLanes);
    batch_norm_backward_data_kernel<T, kLanes><<<cut.grid, cut.block, 0, stream>>>(
        elements<T>(call.dz), elements<T>(call.x), Coefficients(call.batch_norm), call.gradients.weight.data<float>(),
        call.gradients.bias.data<float>(), elements<T>(call.dx), cut.pixels, cut.channels, cut.run);
    STAGEWISE_CHECK_LAUNCH(batch_norm_backward_data_kernel);
  });
}

}  // namespace stagewise::cuda
