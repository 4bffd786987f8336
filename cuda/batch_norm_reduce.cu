// Sums over the pixels of a map [N,H,W,C], channel by channel, in two stages: each block sums a run of pixels, then one
// block a few channels adds the runs' sums. Always in the same order, so deterministic.
//
//   moments          mean and biased variance of x
//   prepare          inverse_deviation = 1/sqrt(variance + epsilon), scale = weight * inverse_deviation, and the running
//                    statistics: by the thread that has joined a channel's moments, or in a launch of its own
//   backward_reduce  dz = dy where the ReLU was on; d_weight = sum of dz * (x - mean) * inverse_deviation,
//                    d_bias = sum of dz
//   channel_sums     sum of x
//
// The moments are sound where |mean| is much larger than the deviation: a run sums the distances from its own first
// pixel, and runs are joined as Chan, Golub and LeVeque (1983) do, which subtracts no large numbers: first the mean of
// all, then each run's squared distances and its mean's from that one.
//
// Bytes: every map read or written once, 16 at a time where C allows (backward_reduce in float32: 16 an element).
// FLOPs: 3 to 5 an element, so memory binds.
#include "cuda/channel_runs.h"

namespace stagewise::cuda {
namespace {

/// Adds `values` over the rows of the block; the sums are in the threads of row 0.
template <int kLanes>
__device__ void sum_over_rows(Floats<kLanes>& values, float* scratch) {
  float* const mine = scratch + (threadIdx.y * blockDim.x + threadIdx.x) * kLanes;
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) mine[lane] = values.at[lane];
  __syncthreads();
  for (unsigned rows = blockDim.y; rows > 1;) {
    const unsigned half = (rows + 1) / 2;
    if (threadIdx.y + half < rows) {
      const float* const other = mine + half * blockDim.x * kLanes;
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane) mine[lane] += other[lane];
    }
    __syncthreads();
    rows = half;
  }
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) values.at[lane] = mine[lane];
  __syncthreads();
}

/// What the first stage leaves: `kParts` numbers for each run and channel, [kParts, runs, C].
struct Partial {
  float* at;
  int channels;
  __device__ float& operator()(int part, unsigned run, int channel) const {
    return at[(static_cast<std::int64_t>(part) * gridDim.x + run) * channels + channel];
  }
};

/// Parts: the pivot, the mean's distance from it, the squared distances from the mean.
template <class T, int kLanes>
__global__ void batch_norm_moments_kernel(const T* x, Partial partial, std::int64_t pixels, int channels, int run) {
  __shared__ float scratch[kBlock * kLanes];
  const int channel = channel_of_thread<kLanes>();
  const bool active = channel < channels;
  const std::int64_t first_pixel = static_cast<std::int64_t>(blockIdx.x) * run;
  Floats<kLanes> pivot{}, sums{}, squares{};
  if (active) {
    pivot = load<kLanes>(x + first_pixel * channels + channel);
    for_pixels_of_run(pixels, channels, run, channel, [&](std::int64_t at) {
      const Floats<kLanes> values = load<kLanes>(x + at);
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane) {
        const float distance = values.at[lane] - pivot.at[lane];
        sums.at[lane] += distance;
        squares.at[lane] += distance * distance;
      }
    });
  }
  sum_over_rows(sums, scratch);
  sum_over_rows(squares, scratch);
  if (!active || threadIdx.y != 0) return;
  const auto count = static_cast<float>(min(static_cast<std::int64_t>(run), pixels - first_pixel));
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) {
    const float mean = sums.at[lane] / count;
    partial(0, blockIdx.x, channel + lane) = pivot.at[lane];
    partial(1, blockIdx.x, channel + lane) = mean;
    partial(2, blockIdx.x, channel + lane) = fmaxf(squares.at[lane] - sums.at[lane] * mean, 0.0f);
  }
}

enum class Mask { none, output, normalised };

template <class T>
struct ReduceArguments {
  const T *dy, *y, *x;
  Coefficients batch_norm;
  T* dz;
  Partial partial;  // the sums of dz * (x - mean), then of dz
  std::int64_t pixels;
  int channels, run;
};

template <class T, int kLanes, Mask kMask>
__global__ void batch_norm_backward_reduce_kernel(ReduceArguments<T> call) {
  __shared__ float scratch[kBlock * kLanes];
  const int channel = channel_of_thread<kLanes>();
  const bool active = channel < call.channels;
  Floats<kLanes> weight_sums{}, bias_sums{};
  if (active) {
    const Floats<kLanes> mean = load<kLanes>(call.batch_norm.mean + channel);
    Floats<kLanes> scale{}, shift{};
    if (kMask == Mask::normalised) {
      scale = load<kLanes>(call.batch_norm.scale + channel);
      shift = load<kLanes>(call.batch_norm.shift + channel);
    }
    for_pixels_of_run(call.pixels, call.channels, call.run, channel, [&](std::int64_t at) {
      Floats<kLanes> dz = load<kLanes>(call.dy + at), y{};
      const Floats<kLanes> x = load<kLanes>(call.x + at);
      if (kMask == Mask::output) y = load<kLanes>(call.y + at);
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane) {
        const float distance = x.at[lane] - mean.at[lane];
        if (kMask == Mask::normalised) y.at[lane] = distance * scale.at[lane] + shift.at[lane];
        if (kMask != Mask::none && !(y.at[lane] > 0.0f)) dz.at[lane] = 0.0f;
        weight_sums.at[lane] += dz.at[lane] * distance;
        bias_sums.at[lane] += dz.at[lane];
      }
      if (kMask != Mask::none) store(dz, call.dz + at);
    });
  }
  sum_over_rows(weight_sums, scratch);
  sum_over_rows(bias_sums, scratch);
  if (!active || threadIdx.y != 0) return;
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) {
    call.partial(0, blockIdx.x, channel + lane) = weight_sums.at[lane];
    call.partial(1, blockIdx.x, channel + lane) = bias_sums.at[lane];
  }
}

template <class T, int kLanes>
__global__ void channel_sums_kernel(const T* x, Partial partial, std::int64_t pixels, int channels, int run) {
  __shared__ float scratch[kBlock * kLanes];
  const int channel = channel_of_thread<kLanes>();
  const bool active = channel < channels;
  Floats<kLanes> sums{};
  if (active) {
    for_pixels_of_run(pixels, channels, run, channel, [&](std::int64_t at) {
      const Floats<kLanes> values = load<kLanes>(x + at);
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane) sums.at[lane] += values.at[lane];
    });
  }
  sum_over_rows(sums, scratch);
  if (!active || threadIdx.y != 0) return;
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) partial(0, blockIdx.x, channel + lane) = sums.at[lane];
}

// The second stage: a warp's lanes are neighbouring channels, the block's rows share the runs out between them. Few
// blocks have anything to do, so what counts is how many loads are under way at once.
constexpr int kRows = 32;

/// The sum over the block's rows of each lane's value, for all of them.
__device__ float sum_over_rows(float value, float (*scratch)[kWarp]) {
  scratch[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  for (unsigned half = kRows / 2; half > 0; half /= 2) {
    if (threadIdx.y < half) scratch[threadIdx.y][threadIdx.x] += scratch[threadIdx.y + half][threadIdx.x];
    __syncthreads();
  }
  const float sum = scratch[0][threadIdx.x];
  __syncthreads();
  return sum;
}

/// What becomes of a channel's moments. `weight` is nullptr where nothing does.
struct Preparation {
  const float* weight;
  float *inverse_deviation, *scale;
  float *running_mean, *running_variance;  // or nullptr
  float epsilon, momentum, unbias;

  explicit Preparation(const BatchNormPrepare& call)
      : weight(call.weight.data<float>()),
        inverse_deviation(call.inverse_deviation.data<float>()),
        scale(call.scale.data<float>()),
        running_mean(call.running_mean.data<float>()),
        running_variance(call.running_variance.data<float>()),
        epsilon(static_cast<float>(call.epsilon)),
        momentum(static_cast<float>(call.momentum)),
        unbias(static_cast<float>(static_cast<double>(call.pixels) /
                                  static_cast<double>(std::max<std::int64_t>(call.pixels - 1, 1)))) {}

  __device__ void operator()(int channel, float mean, float variance) const {
    const float inverse = 1.0f / sqrtf(variance + epsilon);
    inverse_deviation[channel] = inverse;
    scale[channel] = weight[channel] * inverse;
    if (running_mean == nullptr) return;
    running_mean[channel] += momentum * (mean - running_mean[channel]);
    running_variance[channel] += momentum * (variance * unbias - running_variance[channel]);
  }
};

__global__ void batch_norm_prepare_kernel(const float* mean, const float* variance, int channels, Preparation prepare) {
  const auto channel = static_cast<int>(global_thread());
  if (channel < channels) prepare(channel, mean[channel], variance[channel]);
}

__global__ void join_moments_kernel(const float* partial, int runs, std::int64_t pixels, int run, int channels,
                                    float* mean, float* variance, Preparation prepare) {
  __shared__ float scratch[kRows][kWarp];
  const int channel = static_cast<int>(blockIdx.x * kWarp + threadIdx.x);
  const bool active = channel < channels;
  const std::int64_t part = static_cast<std::int64_t>(runs) * channels;
  const float* const from = partial + (active ? channel : 0);
  const float pivot = *from, in_all = static_cast<float>(pixels);
  const auto row = static_cast<int>(threadIdx.y);
  const auto count_of = [&](int i) {
    return static_cast<float>(min(static_cast<std::int64_t>(run), pixels - static_cast<std::int64_t>(i) * run));
  };
  float sum = 0.0f, squares = 0.0f;
#pragma unroll 4
  for (int i = row; i < runs; i += kRows) {
    const float* const of_run = from + static_cast<std::int64_t>(i) * channels;
    sum += count_of(i) * ((of_run[0] - pivot) + of_run[part]);
  }
  const float distance = sum_over_rows(sum, scratch) / in_all;  // of the mean of all from the pivot
#pragma unroll 4
  for (int i = row; i < runs; i += kRows) {
    const float* const of_run = from + static_cast<std::int64_t>(i) * channels;
    const float off = (of_run[0] - pivot) + of_run[part] - distance;
    squares += of_run[2 * part] + count_of(i) * off * off;
  }
  squares = sum_over_rows(squares, scratch);
  if (row != 0 || !active) return;
  const float mean_of_all = pivot + distance, variance_of_all = squares / in_all;
  mean[channel] = mean_of_all;
  variance[channel] = variance_of_all;
  if (prepare.weight != nullptr) prepare(channel, mean_of_all, variance_of_all);
}

/// The runs' sums of one part after the other (blockIdx.y): first[c] = factors[c] * sum (no factors, no
/// multiplication), second[c] = sum.
__global__ void add_runs_kernel(const float* partial, int runs, int channels, const float* factors, float* first,
                                float* second) {
  __shared__ float scratch[kRows][kWarp];
  const int channel = static_cast<int>(blockIdx.x * kWarp + threadIdx.x);
  const bool active = channel < channels;
  const float* const from = partial + static_cast<std::int64_t>(blockIdx.y) * runs * channels + (active ? channel : 0);
  float sum = 0.0f;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.y); i < runs; i += kRows) {
    sum += from[static_cast<std::int64_t>(i) * channels];
  }
  sum = sum_over_rows(sum, scratch);
  if (threadIdx.y != 0 || !active) return;
  if (blockIdx.y == 1) {
    second[channel] = sum;
  } else {
    first[channel] = factors != nullptr ? sum * factors[channel] : sum;
  }
}

/// Room for `parts` numbers a run and channel.
Tensor partial_sums(const Tensor& map, const ChannelRuns& cut, int parts) {
  return Tensor(map.backend(), {parts, cut.grid.x, cut.channels});
}

void add_runs(const float* partial, const ChannelRuns& cut, const float* factors, float* first, float* second,
              cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(blocks_for(cut.channels, kWarp)), second != nullptr ? 2 : 1);
  add_runs_kernel<<<grid, dim3(kWarp, kRows), 0, stream>>>(partial, static_cast<int>(cut.grid.x), cut.channels, factors,
                                                           first, second);
  STAGEWISE_CHECK_LAUNCH(add_runs_kernel);
}

template <Mask kMask>
void backward_reduce(const BatchNormBackwardReduce& call, cudaStream_t stream) {
  with_type_and_lanes(call.x, [&]<class T, int kLanes>() {
    const ChannelRuns cut(call.x, kLanes);
    const Tensor partial = partial_sums(call.x, cut, 2);
    float* const sums = partial.data<float>();
    batch_norm_backward_reduce_kernel<T, kLanes, kMask>
        <<<cut.grid, cut.block, 0, stream>>>(ReduceArguments<T>{elements<T>(call.dy),
                                                                elements<T>(call.y),
                                                                elements<T>(call.x),
                                                                Coefficients(call.batch_norm),
                                                                elements<T>(call.dz),
                                                                {sums, cut.channels},
                                                                cut.pixels,
                                                                cut.channels,
                                                                cut.run});
    STAGEWISE_CHECK_LAUNCH(batch_norm_backward_reduce_kernel);
    add_runs(sums, cut, call.batch_norm.inverse_deviation.data<float>(), call.gradients.weight.data<float>(),
             call.gradients.bias.data<float>(), stream);
  });
}

}  // namespace

void batch_norm_moments(const BatchNormMoments& call, cudaStream_t stream) {
  with_type_and_lanes(call.x, [&]<class T, int kLanes>() {
    const ChannelRuns cut(call.x, kLanes);
    const Tensor partial = partial_sums(call.x, cut, 3);
    batch_norm_moments_kernel<T, kLanes><<<cut.grid, cut.block, 0, stream>>>(
        elements<T>(call.x), {partial.data<float>(), cut.channels}, cut.pixels, cut.channels, cut.run);
    STAGEWISE_CHECK_LAUNCH(batch_norm_moments_kernel);
    join_moments_kernel<<<blocks_for(cut.channels, kWarp), dim3(kWarp, kRows), 0, stream>>>(
        partial.data<float>(), static_cast<int>(cut.grid.x), cut.pixels, cut.run, cut.channels, call.mean.data<float>(),
        call.variance.data<float>(), Preparation(call.prepare));
    STAGEWISE_CHECK_LAUNCH(join_moments_kernel);
  });
}

void batch_norm_prepare(const BatchNormPrepare& call, cudaStream_t stream) {
  const auto channels = static_cast<int>(call.mean.count());
  batch_norm_prepare_kernel<<<blocks_for(channels), kBlock, 0, stream>>>(
      call.mean.data<float>(), call.variance.data<float>(), channels, Preparation(call));
  STAGEWISE_CHECK_LAUNCH(batch_norm_prepare_kernel);
}

void batch_norm_backward_reduce(const BatchNormBackwardReduce& call, cudaStream_t stream) {
  if (call.y.defined()) return backward_reduce<Mask::output>(call, stream);
  backward_reduce<Mask::none>(call, stream);
}

void batch_norm_backward_reduce_normalised(const BatchNormBackwardReduce& call, cudaStream_t stream) {
  backward_reduce<Mask::normalised>(call, stream);
}

void channel_sums(const Tensor& x, const Tensor& sums, cudaStream_t stream) {
  with_type_and_lanes(x, [&]<class T, int kLanes>() {
    const ChannelRuns cut(x, kLanes);
    const Tensor partial = partial_sums(x, cut, 1);
    channel_sums_kernel<T, kLanes><<<cut.grid, cut.block, 0, stream>>>(
        elements<T>(x), {partial.data<float>(), cut.channels}, cut.pixels, cut.channels, cut.run);
    STAGEWISE_CHECK_LAUNCH(channel_sums_kernel);
    add_runs(partial.data<float>(), cut, nullptr, sums.data<float>(), nullptr, stream);
  });
}

}  // namespace stagewise::cuda
