// Winograd convolution (Lavin, Gray 2016) for filters of 3x3, in the forms of winograd_forms.h: y = At [sum over c of
// (G g Gt) . (Bt d B)] A, with d a tile of inputs that overlaps its neighbours. The product in the middle is one small
// matrix product for each position of a transformed tile: 36 for 4x4 outputs at stride 1, so that an output costs 36/16
// multiplications a channel pair instead of 9; 25 instead of 36 for 2x2 outputs at stride 2.
//
// The gradient of the filter is the transposed map: dg = Gt [sum over tiles of (Bt d B) . (A dy At)] G. The gradient of
// the input is a convolution with the filter turned and transposed.
//
// The transforms are one-dimensional twice: down the columns for a whole row of tiles, so that columns which neighbours
// share are done once, then along the rows. Everything after that is done for one row of positions at a time, whose v,
// u and m fit L1 together.
//
// Layout: v [plane][tile][channel], u [products][products][channel][block of output channels], m
// [products][tile][block]; vectors run along the channels everywhere, so nothing is shuffled. Lanes past the last
// channel hold rubbish that nobody reads. Cost at stride 1: (36 / 16) * 2 FLOPs an output and channel pair, and about
// 220 additions a tile and vector for the transforms. Deterministic. Error at stride 1: about 4e-6 of the largest
// value, ten times the direct kernel's.
#include "cpu/kernels/all_kernels.h"
#include "cpu/kernels/prefetch.h"
#include "cpu/kernels/winograd_forms.h"

STAGEWISE_KERNELS_BEGIN

namespace {

/// m[tile] = v[tile] u for `Tiles` tiles and one position.
template <int Tiles, int Vectors>
inline void multiply_tiles(const float* v, std::ptrdiff_t v_tile, const float* u, std::int64_t channels, float* m) {
  Floats sums[Tiles][Vectors];
#pragma GCC unroll 16
  for (int tile = 0; tile < Tiles; ++tile) {
#pragma GCC unroll 2
    for (int part = 0; part < Vectors; ++part) sums[tile][part] = Floats{};
  }
  // A pointer for every four tiles: with one for all of them the distances would not fit the general registers.
  const float* groups[(Tiles + 3) / 4];
#pragma GCC unroll 4
  for (int group = 0; group < (Tiles + 3) / 4; ++group) groups[group] = v + 4 * group * v_tile;
  for (std::int64_t channel = 0; channel < channels; ++channel, u += Vectors * kLanes) {
    Floats weight[Vectors];
#pragma GCC unroll 2
    for (int part = 0; part < Vectors; ++part) weight[part] = load(u + part * kLanes);
#pragma GCC unroll 16
    for (int tile = 0; tile < Tiles; ++tile) {
      const Floats value = broadcast(groups[tile / 4][tile % 4 * v_tile]);
#pragma GCC unroll 2
      for (int part = 0; part < Vectors; ++part) sums[tile][part] += value * weight[part];
    }
#pragma GCC unroll 4
    for (int group = 0; group < (Tiles + 3) / 4; ++group) ++groups[group];
  }
#pragma GCC unroll 16
  for (int tile = 0; tile < Tiles; ++tile) {
#pragma GCC unroll 2
    for (int part = 0; part < Vectors; ++part) store(m + (tile * Vectors + part) * kLanes, sums[tile][part]);
  }
}

/// m A for tiles [products][tile][lanes] to [outputs][tile][lanes].
template <class Form>
void halve(const float* m, std::int64_t floats, float* half) {
  for (std::int64_t at = 0; at < floats; at += kLanes) {
    Floats in[Form::kProducts], out[Form::kOutputs];
#pragma GCC unroll 6
    for (int column = 0; column < Form::kProducts; ++column) in[column] = load(m + column * floats + at);
    Form::output(in, out);
#pragma GCC unroll 4
    for (int column = 0; column < Form::kOutputs; ++column) store(half + column * floats + at, out[column]);
  }
}

// A function of its own: inlined beside another one, its inner loop runs out of registers for its pointers.
template <class Form, int Most, int Vectors>
__attribute__((noinline)) void multiply_row(const WinogradMultiply& job) {
  const std::int64_t floats = job.tiles * Vectors * kLanes;
  const std::int64_t steps = Form::kProducts * ((job.tiles + Most - 1) / Most);
  PrefetchSteps soon(job.soon, steps);
  for (int position = 0; position < Form::kProducts; ++position) {
    const float* u = job.u + position * job.channels * Vectors * kLanes;
    const float* v = job.v + Form::kInputPlane[position] * job.v_plane;
    float* m = job.m + position * floats;
    const auto run = [&]<int Tiles>() {
      soon.next();
      multiply_tiles<Tiles, Vectors>(v, job.v_tile, u, job.channels, m);
      v += Tiles * job.v_tile;
      m += Tiles * Vectors * kLanes;
    };
    std::int64_t left = job.tiles;
    for (; left >= Most; left -= Most) run.template operator()<Most>();
    for (; left >= 4; left -= 4) run.template operator()<4>();
    if (left >= 2) run.template operator()<2>(), left -= 2;
    if (left >= 1) run.template operator()<1>();
  }
  halve<Form>(job.m, floats, job.half);
}

/// du[channel][k] += sum over tiles of v[tile][channel] * w[tile][k], for `Channels` channels and one position.
template <int Channels, int Vectors>
inline void accumulate_channels(const WinogradAccumulate& job, const float* v, const float* w, float* du) {
  Floats sums[Channels][Vectors];
#pragma GCC unroll 16
  for (int channel = 0; channel < Channels; ++channel) {
#pragma GCC unroll 2
    for (int part = 0; part < Vectors; ++part)
      sums[channel][part] = job.first ? Floats{} : load(du + channel * job.du_channel + part * kLanes);
  }
  for (std::int64_t tile = 0; tile < job.tiles; ++tile, v += job.v_tile, w += job.w_tile) {
    Floats gradient[Vectors];
#pragma GCC unroll 2
    for (int part = 0; part < Vectors; ++part) gradient[part] = load(w + part * kLanes);
#pragma GCC unroll 16
    for (int channel = 0; channel < Channels; ++channel) {
      const Floats value = broadcast(v[channel]);
#pragma GCC unroll 2
      for (int part = 0; part < Vectors; ++part) sums[channel][part] += value * gradient[part];
    }
  }
#pragma GCC unroll 16
  for (int channel = 0; channel < Channels; ++channel) {
#pragma GCC unroll 2
    for (int part = 0; part < Vectors; ++part)
      store(du + channel * job.du_channel + part * kLanes, sums[channel][part]);
  }
}

template <class Form, int Most, int Vectors>
__attribute__((noinline)) void accumulate_row(const WinogradAccumulate& job) {
  const std::int64_t steps = Form::kProducts * job.blocks * ((job.channels + Most - 1) / Most);
  PrefetchSteps soon(job.soon, steps);
  for (int position = 0; position < Form::kProducts; ++position) {
    const float* v = job.v + Form::kInputPlane[position] * job.v_plane;
    for (std::int64_t block = 0; block < job.blocks; ++block) {
      const float* w = job.w + Form::kGradientPlane[position] * job.w_plane + block * Vectors * kLanes;
      float* du = job.du + position * job.du_plane + block * Vectors * kLanes;
      std::int64_t channel = 0;
      const auto run = [&]<int Channels>() {
        soon.next();
        accumulate_channels<Channels, Vectors>(job, v + channel, w, du + channel * job.du_channel);
        channel += Channels;
      };
      while (channel + Most <= job.channels) run.template operator()<Most>();
      while (channel + 4 <= job.channels) run.template operator()<4>();
      while (channel < job.channels) run.template operator()<1>();
    }
  }
}

/// y[row][column] of one tile and vector of channels, bias and addend included.
template <class Form, bool Whole, bool Addend>
inline void finish_tile(const WinogradOutput& job, std::int64_t tile, int part, int lanes) {
  constexpr int kProducts = Form::kProducts, kOutputs = Form::kOutputs;
  const float* half = job.half + (tile * job.vectors + part) * kLanes;
  const Floats bias = job.bias ? load_first(job.bias + part * kLanes, lanes) : Floats{};
  float* const first = job.y + tile * kOutputs * job.y_pixel + part * kLanes;
  const std::ptrdiff_t y_row = job.y_row, y_pixel = job.y_pixel, plane = job.half_plane, addend = job.addend;
  const std::int64_t rows = job.rows, columns = job.columns - tile * kOutputs;
#pragma GCC unroll 4
  for (int column = 0; column < kOutputs; ++column) {
    if (!Whole && column >= columns) break;
    Floats in[kProducts], out[kOutputs];
#pragma GCC unroll 6
    for (int row = 0; row < kProducts; ++row) in[row] = load(half + (row * kOutputs + column) * plane);
    Form::output(in, out);
#pragma GCC unroll 4
    for (int row = 0; row < kOutputs; ++row) {
      if (!Whole && row >= rows) break;
      float* y = first + row * y_row + column * y_pixel;
      Floats value = out[row] + bias;
      if constexpr (Addend) value += load_first(y + addend, lanes);
      store_first(y, value, lanes);
    }
  }
}

template <class Form, bool Addend>
void finish_tiles(const WinogradOutput& job) {
  for (std::int64_t tile = 0; tile < job.tiles; ++tile) {
    for (int part = 0; part < job.vectors; ++part) {
      const std::int64_t left = job.channels - part * kLanes;
      if (left <= 0) break;
      if (job.rows >= Form::kOutputs && (tile + 1) * Form::kOutputs <= job.columns && left >= kLanes) {
        finish_tile<Form, true, Addend>(job, tile, part, kLanes);
      } else {
        finish_tile<Form, false, Addend>(job, tile, part, static_cast<int>(smaller(left, kLanes)));
      }
    }
  }
}

/// One-dimensional transforms of `In` vectors to `Out`: down the columns, and along a row.
template <int In, int Out, void (*Transform)(const Floats (&)[In], Floats (&)[Out])>
inline __attribute__((always_inline)) void transform_column(const float* const (&rows)[In], float* to,
                                                            std::ptrdiff_t to_row, std::int64_t at, int lanes) {
  Floats in[In], out[Out];
#pragma GCC unroll 6
  for (int row = 0; row < In; ++row) in[row] = load_first(rows[row] + at, lanes);
  Transform(in, out);
#pragma GCC unroll 6
  for (int row = 0; row < Out; ++row) store_first(to + row * to_row + at, out[row], lanes);
}

/// A call of memset would take longer than these few vectors do.
inline void clear(float* to, std::int64_t count) {
  for_vectors(count, [=](std::int64_t at, auto lanes) { store_first(to + at, Floats{}, lanes); });
}

template <int In, int Out, void (*Transform)(const Floats (&)[In], Floats (&)[Out])>
void transform_columns(const WinogradColumns& job) {
  // Copies, because the compiler must think that a store may change the job.
  const float* rows[In];
  for (int row = 0; row < In; ++row) rows[row] = job.rows[row];
  float* const to = job.columns + job.padding_before;
  const std::ptrdiff_t to_row = job.column_row;
  const std::int64_t floats = job.floats;
  std::int64_t at = 0;
  for (; at + kLanes <= floats; at += kLanes) transform_column<In, Out, Transform>(rows, to, to_row, at, kLanes);
  if (at < floats) transform_column<In, Out, Transform>(rows, to, to_row, at, static_cast<int>(floats - at));
  const std::int64_t after = job.padded_floats - job.padding_before - job.floats;
  for (int row = 0; row < Out; ++row) {
    clear(job.columns + row * to_row, job.padding_before);
    clear(job.columns + row * to_row + job.padding_before + floats, after);
  }
}

/// A tile lies `Step` columns after its neighbour.
template <int In, int Step, int Out, void (*Transform)(const Floats (&)[In], Floats (&)[Out])>
void transform_row(const WinogradRow& job) {
  // Copies, because the compiler must think that a store may change the job.
  const std::int64_t channels = job.channels, tiles = job.tiles;
  const std::ptrdiff_t plane = job.v_plane, v_tile = job.v_tile;
  constexpr int kShared = In - Step;
  for (std::int64_t channel = 0; channel < channels; channel += kLanes) {
    const float* from = job.columns + channel;
    float* to = job.v + channel;
    Floats in[In], out[Out];
#pragma GCC unroll 6
    for (int column = 0; column < kShared; ++column) in[column] = load(from + column * channels);
    for (std::int64_t tile = 0; tile < tiles; ++tile, from += Step * channels, to += v_tile) {
#pragma GCC unroll 6
      for (int column = kShared; column < In; ++column) in[column] = load(from + column * channels);
      Transform(in, out);
#pragma GCC unroll 6
      for (int column = 0; column < Out; ++column) store(to + column * plane, out[column]);
#pragma GCC unroll 6
      for (int column = 0; column < kShared; ++column) in[column] = in[Step + column];
    }
  }
}

template <class Form>
void multiply(const WinogradMultiply& job) {
  if constexpr (kManyRegisters) {
    job.vectors == 2 ? multiply_row<Form, 8, 2>(job) : multiply_row<Form, 16, 1>(job);
  } else {
    job.vectors == 2 ? multiply_row<Form, 6, 2>(job) : multiply_row<Form, 8, 1>(job);
  }
}

template <class Form>
void output(const WinogradOutput& job) {
  job.has_addend ? finish_tiles<Form, true>(job) : finish_tiles<Form, false>(job);
}

template <class Form>
void accumulate(const WinogradAccumulate& job) {
  if constexpr (kManyRegisters) {
    job.vectors == 2 ? accumulate_row<Form, 8, 2>(job) : accumulate_row<Form, 16, 1>(job);
  } else {
    job.vectors == 2 ? accumulate_row<Form, 6, 2>(job) : accumulate_row<Form, 8, 1>(job);
  }
}

template <class Form>
void filter(const float* g, std::ptrdiff_t g_tap, float* u, std::ptrdiff_t u_plane, std::int64_t count) {
  constexpr int kProducts = Form::kProducts;
  for (std::int64_t at = 0; at < count; at += kLanes) {
    Floats half[kProducts][3];
#pragma GCC unroll 3
    for (int column = 0; column < 3; ++column) {
      const Floats in[3] = {load(g + column * g_tap + at), load(g + (3 + column) * g_tap + at),
                            load(g + (6 + column) * g_tap + at)};
      Floats out[kProducts];
      Form::filter(in, out);
#pragma GCC unroll 6
      for (int row = 0; row < kProducts; ++row) half[row][column] = out[row];
    }
#pragma GCC unroll 6
    for (int row = 0; row < kProducts; ++row) {
      Floats out[kProducts];
      Form::filter(half[row], out);
#pragma GCC unroll 6
      for (int column = 0; column < kProducts; ++column) {
        store(u + (row * kProducts + column) * u_plane + at, out[column]);
      }
    }
  }
}

template <class Form>
void filter_gradient(const float* du, std::ptrdiff_t du_plane, float* dg, std::ptrdiff_t dg_tap, std::int64_t count) {
  constexpr int kProducts = Form::kProducts;
  for (std::int64_t at = 0; at < count; at += kLanes) {
    Floats half[3][kProducts];
#pragma GCC unroll 6
    for (int column = 0; column < kProducts; ++column) {
      Floats in[kProducts], out[3];
#pragma GCC unroll 6
      for (int row = 0; row < kProducts; ++row) in[row] = load(du + (row * kProducts + column) * du_plane + at);
      Form::filter_gradient(in, out);
#pragma GCC unroll 3
      for (int row = 0; row < 3; ++row) half[row][column] = out[row];
    }
#pragma GCC unroll 3
    for (int row = 0; row < 3; ++row) {
      Floats out[3];
      Form::filter_gradient(half[row], out);
#pragma GCC unroll 3
      for (int column = 0; column < 3; ++column) store(dg + (row * 3 + column) * dg_tap + at, out[column]);
    }
  }
}

/// What forward and by data need.
template <class Form>
constexpr WinogradKernels convolution_kernels() {
  return {
      .inputs = Form::kInputs,
      .input_step = Form::kInputStep,
      .outputs = Form::kOutputs,
      .products = Form::kProducts,
      .input_planes = {Form::kInputPlanes, Form::kInputPlane},
      .input_columns = transform_columns<Form::kInputs, Form::kInputPlanes, Form::input>,
      .input_row = transform_row<Form::kInputs, Form::kInputStep, Form::kInputPlanes, Form::input>,
      .multiply = multiply<Form>,
      .output = output<Form>,
      .filter = filter<Form>,
  };
}

/// And by weights.
template <class Form>
constexpr WinogradKernels all_kernels() {
  WinogradKernels kernels = convolution_kernels<Form>();
  kernels.gradient_planes = {Form::kGradientPlanes, Form::kGradientPlane};
  kernels.gradient_columns = transform_columns<Form::kOutputs, Form::kGradientPlanes, Form::gradient>;
  kernels.gradient_row = transform_row<Form::kOutputs, Form::kOutputs, Form::kGradientPlanes, Form::gradient>;
  kernels.accumulate = accumulate<Form>;
  kernels.filter_gradient = filter_gradient<Form>;
  return kernels;
}

}  // namespace

const WinogradKernels winograd_kernels[kWinogradForms] = {all_kernels<Stride1>(), all_kernels<Stride2>(),
                                                          convolution_kernels<Stride2Data<0>>(),
                                                          convolution_kernels<Stride2Data<1>>()};

STAGEWISE_KERNELS_END
