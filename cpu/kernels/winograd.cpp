// Winograd convolution F(4x4,3x3) (Lavin, Gray 2016): for tiles of 4x4 outputs, y = At [sum over c of (G g Gt) . (Bt d
// B)] A, with d a tile of 6x6 inputs that overlaps its neighbours by two. The product in the middle is 36 small matrix
// products, so an output costs 36/16 multiplications a channel pair instead of 9.
//
// The gradient of the filter is the transposed map: dg = Gt [sum over tiles of (Bt d B) . (A dy At)] G. The gradient of
// the input is a forward convolution with the filter turned and transposed.
//
// The transforms are one-dimensional twice: down the columns for a whole row of tiles, so that columns which neighbours
// share are done once, then along the rows. Everything after that is done for one of the six rows of positions at a
// time, whose v, u and m fit L1 together.
//
// Layout: v [6][tile][channel], u [6][6][channel][block of output channels], m [6][tile][block]; vectors run along the
// channels everywhere, so nothing is shuffled. Lanes past the last channel hold rubbish that nobody reads.
// Cost: (36 / 16) * 2 FLOPs an output and channel pair, and about 220 additions a tile and vector for the transforms.
// Deterministic. Error: about 4e-6 of the largest value, ten times the direct kernel's.
#include "cpu/kernels/all_kernels.h"
#include "cpu/kernels/prefetch.h"

STAGEWISE_KERNELS_BEGIN

namespace {

/// Bt d: for the points 0, 1, -1, 2, -2 and infinity.
inline void input_transform(const Floats (&d)[6], Floats (&v)[6]) {
  const Floats even = d[4] - 4.0f * d[2], odd = d[3] - 4.0f * d[1];
  const Floats even2 = d[4] - d[2], odd2 = 2.0f * (d[3] - d[1]);
  v[0] = 4.0f * d[0] + (d[4] - 5.0f * d[2]);
  v[1] = even + odd;
  v[2] = even - odd;
  v[3] = even2 + odd2;
  v[4] = even2 - odd2;
  v[5] = 4.0f * d[1] + (d[5] - 5.0f * d[3]);
}

/// At m.
inline void output_transform(const Floats (&m)[6], Floats (&y)[4]) {
  const Floats sum1 = m[1] + m[2], difference1 = m[1] - m[2];
  const Floats sum2 = m[3] + m[4], difference2 = m[3] - m[4];
  y[0] = m[0] + sum1 + sum2;
  y[1] = difference1 + 2.0f * difference2;
  y[2] = sum1 + 4.0f * sum2;
  y[3] = difference1 + 8.0f * difference2 + m[5];
}

/// A dy.
inline void gradient_transform(const Floats (&y)[4], Floats (&w)[6]) {
  const Floats even1 = y[0] + y[2], odd1 = y[1] + y[3];
  const Floats even2 = y[0] + 4.0f * y[2], odd2 = 2.0f * (y[1] + 4.0f * y[3]);
  w[0] = y[0];
  w[1] = even1 + odd1;
  w[2] = even1 - odd1;
  w[3] = even2 + odd2;
  w[4] = even2 - odd2;
  w[5] = y[3];
}

/// G g.
inline void filter_transform(const Floats (&g)[3], Floats (&u)[6]) {
  const Floats outer1 = (1.0f / 6.0f) * (g[0] + g[2]), inner1 = (1.0f / 6.0f) * g[1];
  const Floats outer2 = (1.0f / 24.0f) * g[0] + (1.0f / 6.0f) * g[2], inner2 = (1.0f / 12.0f) * g[1];
  u[0] = 0.25f * g[0];
  u[1] = -outer1 - inner1;
  u[2] = inner1 - outer1;
  u[3] = outer2 + inner2;
  u[4] = outer2 - inner2;
  u[5] = g[2];
}

/// Gt u.
inline void filter_gradient_transform(const Floats (&u)[6], Floats (&g)[3]) {
  const Floats sum1 = u[1] + u[2], sum2 = u[3] + u[4];
  g[0] = 0.25f * u[0] - (1.0f / 6.0f) * sum1 + (1.0f / 24.0f) * sum2;
  g[1] = (1.0f / 6.0f) * (u[2] - u[1]) + (1.0f / 12.0f) * (u[3] - u[4]);
  g[2] = (1.0f / 6.0f) * (sum2 - sum1) + u[5];
}

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

/// m A for tiles [6][tile][lanes] to [4][tile][lanes].
void halve(const float* m, std::int64_t floats, float* half) {
  for (std::int64_t at = 0; at < floats; at += kLanes) {
    Floats in[6], out[4];
#pragma GCC unroll 6
    for (int column = 0; column < 6; ++column) in[column] = load(m + column * floats + at);
    output_transform(in, out);
#pragma GCC unroll 4
    for (int column = 0; column < 4; ++column) store(half + column * floats + at, out[column]);
  }
}

template <int Most, int Vectors>
void multiply(const WinogradMultiply& job) {
  const std::int64_t floats = job.tiles * Vectors * kLanes;
  const std::int64_t steps = kWinogradSide * ((job.tiles + Most - 1) / Most);
  PrefetchSteps soon(job.soon, steps);
  for (int position = 0; position < kWinogradSide; ++position) {
    const float* u = job.u + position * job.channels * Vectors * kLanes;
    const float* v = job.v + position * job.v_plane;
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
  halve(job.m, floats, job.half);
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

template <int Most, int Vectors>
void accumulate(const WinogradAccumulate& job) {
  const std::int64_t steps = kWinogradSide * job.blocks * ((job.channels + Most - 1) / Most);
  PrefetchSteps soon(job.soon, steps);
  for (int position = 0; position < kWinogradSide; ++position) {
    const float* v = job.v + position * job.v_plane;
    for (std::int64_t block = 0; block < job.blocks; ++block) {
      const float* w = job.w + position * job.w_plane + block * Vectors * kLanes;
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
template <bool Whole, bool Addend>
inline void finish_tile(const WinogradOutput& job, std::int64_t tile, int part, int lanes) {
  const float* half = job.half + (tile * job.vectors + part) * kLanes;
  const Floats bias = job.bias ? load_first(job.bias + part * kLanes, lanes) : Floats{};
  float* const first = job.y + tile * 4 * job.y_pixel + part * kLanes;
  const std::ptrdiff_t y_row = job.y_row, y_pixel = job.y_pixel, plane = job.half_plane, addend = job.addend;
  const std::int64_t rows = job.rows, columns = job.columns - tile * 4;
#pragma GCC unroll 4
  for (int column = 0; column < 4; ++column) {
    if (!Whole && column >= columns) break;
    Floats in[6], out[4];
#pragma GCC unroll 6
    for (int row = 0; row < 6; ++row) in[row] = load(half + (row * 4 + column) * plane);
    output_transform(in, out);
#pragma GCC unroll 4
    for (int row = 0; row < 4; ++row) {
      if (!Whole && row >= rows) break;
      float* y = first + row * y_row + column * y_pixel;
      Floats value = out[row] + bias;
      if constexpr (Addend) value += load_first(y + addend, lanes);
      store_first(y, value, lanes);
    }
  }
}

template <bool Addend>
void finish_tiles(const WinogradOutput& job) {
  for (std::int64_t tile = 0; tile < job.tiles; ++tile) {
    for (int part = 0; part < job.vectors; ++part) {
      const std::int64_t left = job.channels - part * kLanes;
      if (left <= 0) break;
      if (job.rows >= 4 && (tile + 1) * 4 <= job.columns && left >= kLanes) {
        finish_tile<true, Addend>(job, tile, part, kLanes);
      } else {
        finish_tile<false, Addend>(job, tile, part, static_cast<int>(smaller(left, kLanes)));
      }
    }
  }
}

/// One-dimensional transforms of `In` vectors to six: down the columns, and along a row.
template <int In, void (*Transform)(const Floats (&)[In], Floats (&)[6])>
inline __attribute__((always_inline)) void transform_column(const float* const (&rows)[In], float* to,
                                                            std::ptrdiff_t to_row, std::int64_t at, int lanes) {
  Floats in[In], out[6];
#pragma GCC unroll 6
  for (int row = 0; row < In; ++row) in[row] = load_first(rows[row] + at, lanes);
  Transform(in, out);
#pragma GCC unroll 6
  for (int row = 0; row < 6; ++row) store_first(to + row * to_row + at, out[row], lanes);
}

/// A call of memset would take longer than these few vectors do.
inline void clear(float* to, std::int64_t count) {
  for_vectors(count, [=](std::int64_t at, auto lanes) { store_first(to + at, Floats{}, lanes); });
}

template <int In, void (*Transform)(const Floats (&)[In], Floats (&)[6])>
void transform_columns(const WinogradColumns& job) {
  // Copies, because the compiler must think that a store may change the job.
  const float* rows[In];
  for (int row = 0; row < In; ++row) rows[row] = job.rows[row];
  float* const to = job.columns + job.padding_before;
  const std::ptrdiff_t to_row = job.column_row;
  const std::int64_t floats = job.floats;
  std::int64_t at = 0;
  for (; at + kLanes <= floats; at += kLanes) transform_column<In, Transform>(rows, to, to_row, at, kLanes);
  if (at < floats) transform_column<In, Transform>(rows, to, to_row, at, static_cast<int>(floats - at));
  const std::int64_t after = job.padded_floats - job.padding_before - job.floats;
  for (int row = 0; row < 6; ++row) {
    clear(job.columns + row * to_row, job.padding_before);
    clear(job.columns + row * to_row + job.padding_before + floats, after);
  }
}

template <int In, void (*Transform)(const Floats (&)[In], Floats (&)[6])>
void transform_row(const WinogradRow& job) {
  // Copies, because the compiler must think that a store may change the job.
  const std::int64_t channels = job.channels, tiles = job.tiles, shared = In - 4;
  const std::ptrdiff_t plane = job.v_plane, v_tile = job.v_tile;
  for (std::int64_t channel = 0; channel < channels; channel += kLanes) {
    const float* from = job.columns + channel;
    float* to = job.v + channel;
    Floats in[In], out[6];
#pragma GCC unroll 6
    for (int column = 0; column < shared; ++column) in[column] = load(from + column * channels);
    for (std::int64_t tile = 0; tile < tiles; ++tile, from += 4 * channels, to += v_tile) {
#pragma GCC unroll 6
      for (int column = shared; column < In; ++column) in[column] = load(from + column * channels);
      Transform(in, out);
#pragma GCC unroll 6
      for (int column = 0; column < 6; ++column) store(to + column * plane, out[column]);
#pragma GCC unroll 6
      for (int column = 0; column < shared; ++column) in[column] = in[4 + column];
    }
  }
}

}  // namespace

void winograd_input_columns(const WinogradColumns& job) { transform_columns<6, input_transform>(job); }
void winograd_input_row(const WinogradRow& job) { transform_row<6, input_transform>(job); }
void winograd_gradient_columns(const WinogradColumns& job) { transform_columns<4, gradient_transform>(job); }
void winograd_gradient_row(const WinogradRow& job) { transform_row<4, gradient_transform>(job); }

void winograd_multiply(const WinogradMultiply& job) {
  if constexpr (kManyRegisters) {
    job.vectors == 2 ? multiply<8, 2>(job) : multiply<16, 1>(job);
  } else {
    job.vectors == 2 ? multiply<6, 2>(job) : multiply<8, 1>(job);
  }
}

void winograd_output(const WinogradOutput& job) { job.has_addend ? finish_tiles<true>(job) : finish_tiles<false>(job); }

void winograd_accumulate(const WinogradAccumulate& job) {
  if constexpr (kManyRegisters) {
    job.vectors == 2 ? accumulate<8, 2>(job) : accumulate<16, 1>(job);
  } else {
    job.vectors == 2 ? accumulate<6, 2>(job) : accumulate<8, 1>(job);
  }
}

void winograd_filter(const float* g, std::ptrdiff_t g_tap, float* u, std::ptrdiff_t u_plane, std::int64_t count) {
  for (std::int64_t at = 0; at < count; at += kLanes) {
    Floats half[6][3];
#pragma GCC unroll 3
    for (int column = 0; column < 3; ++column) {
      const Floats in[3] = {load(g + column * g_tap + at), load(g + (3 + column) * g_tap + at),
                            load(g + (6 + column) * g_tap + at)};
      Floats out[6];
      filter_transform(in, out);
#pragma GCC unroll 6
      for (int row = 0; row < 6; ++row) half[row][column] = out[row];
    }
#pragma GCC unroll 6
    for (int row = 0; row < 6; ++row) {
      Floats out[6];
      filter_transform(half[row], out);
#pragma GCC unroll 6
      for (int column = 0; column < 6; ++column) store(u + (row * 6 + column) * u_plane + at, out[column]);
    }
  }
}

void winograd_filter_gradient(const float* du, std::ptrdiff_t du_plane, float* dg, std::ptrdiff_t dg_tap,
                              std::int64_t count) {
  for (std::int64_t at = 0; at < count; at += kLanes) {
    Floats half[3][6];
#pragma GCC unroll 6
    for (int column = 0; column < 6; ++column) {
      Floats in[6], out[3];
#pragma GCC unroll 6
      for (int row = 0; row < 6; ++row) in[row] = load(du + (row * 6 + column) * du_plane + at);
      filter_gradient_transform(in, out);
#pragma GCC unroll 3
      for (int row = 0; row < 3; ++row) half[row][column] = out[row];
    }
#pragma GCC unroll 3
    for (int row = 0; row < 3; ++row) {
      Floats out[3];
      filter_gradient_transform(half[row], out);
#pragma GCC unroll 3
      for (int column = 0; column < 3; ++column) store(dg + (row * 3 + column) * dg_tap + at, out[column]);
    }
  }
}

STAGEWISE_KERNELS_END
