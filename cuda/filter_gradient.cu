// The gradient of the filters, by tensor cores or in exact float32. x [N,H,W,C], dy [N,P,Q,K], d_weight [K,R,S,C]:
//
//   d_weight[k,r,s,c] = sum over n, p, q of dy[n,p,q,k] * x[n,h,w,c],   h = p*stride + r - padding, w likewise with q, s
//
// For each tap (r,s) that is a matrix product [K, pixels] * [pixels, C], small but for the pixels that are summed over. So
// the pixels are shared out over blocks, each of which leaves its part of the sums, and a second kernel adds the parts.
//
//   tile   kRows x 8 pixels of dy, and the pixels of x that any tap pairs with them, copied by cp.async to shared memory
//          while the one before is multiplied. What lies outside the image is zero. All taps are fed from one tile.
//   warp   a tap of 3x3, with its [kFilters, kChannels] sums in registers; of 1x1, which is one tap, every fourth step
//   block  (run of tiles, slice of kFilters filters and kChannels channels): grid (parts, slices)
//
// FLOPs: 2 N P Q K R S C. Bytes: x and dy read once (from memory; x is read K/kFilters times through the caches, dy
// C/kChannels times, and the halo of x beside), the parts [parts, K, R, S, C] written and read once. Operands in bfloat16,
// rounded to TF32, or as they are; sums in float32. Deterministic: how many parts there are depends on the problem's size
// alone, and they are added in their order. An image's few channels are one slice, filled up with zeros.
//
// Banks: a pixel is followed by 8 elements that nobody uses. In bfloat16 it is then an odd number of 16 bytes long, so the
// 8 rows that ldmatrix reads lie in the 8 eighths of the banks; in TF32 it is 8 or 24 words mod 32, so the 4 x 8 words of
// a load have a bank each; in exact float32 a load takes in neighbours of one pixel. At stride 2 the columns of x lie even
// before odd: the next output's pixel is the next one in memory.
#include <algorithm>

#include "cuda/filter_gradient.h"
#include "cuda/tensor_cores.h"

namespace stagewise::cuda {
namespace {

constexpr int kColumns = 8;      // of a tile of dy: what ldmatrix takes as rows of one matrix
constexpr int kFewChannels = 4;  // an image's

/// Elements from pixel to pixel in shared memory: with those that nobody uses, but for an image's few channels.
__host__ __device__ constexpr int pitch_of(int slice) { return slice % 16 == 0 ? slice + 8 : slice; }

/// A tap's [kSlice, kSlice] sums by tensor cores, shared out over a warp's lanes.
template <class T, int kSlice>
struct ByTensorCores {
  using Element = T;
  using Core = TensorCore<T>;
  static constexpr int kFilters = kSlice, kChannels = kSlice, kDepth = Core::kDepth;
  static constexpr const char* kCores = " (tensor cores)";
  Sums16x8 sums[kSlice / 16][kSlice / 8];

  /// Adds what kDepth pixels of dy and of x make, rows of kColumns that lie `dy_row` and `x_row` elements apart.
  __device__ void add(const T* dy, int dy_row, const T* x, int x_row) {
    Fragment left[kSlice / 16];
#pragma unroll
    for (int m = 0; m < kSlice / 16; ++m) left[m] = Core::read(dy + 16 * m, dy + dy_row + 16 * m, pitch_of(kSlice));
#pragma unroll
    for (int n = 0; n < kSlice / 16; ++n) {
      const Fragment right = Core::read(x + 16 * n, x + x_row + 16 * n, pitch_of(kSlice));
#pragma unroll
      for (int m = 0; m < kSlice / 16; ++m) {
        Core::multiply_add(left[m], right, 0, sums[m][2 * n]);
        Core::multiply_add(left[m], right, 1, sums[m][2 * n + 1]);
      }
    }
  }

  /// Calls visit(filter, channel, the sums of that channel and the next) for all that this lane has.
  template <class Visit>
  __device__ void for_each_pair(const Visit& visit) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int m = 0; m < kSlice / 16; ++m) {
#pragma unroll
      for (int n = 0; n < kSlice / 8; ++n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float* const pair = &sums[m][n].at[2 * half];
          visit(16 * m + 8 * half + g, 8 * n + 2 * t, float2{pair[0], pair[1]});
        }
      }
    }
  }
};

/// [kFilters, kChannels] in exact float32 by the ordinary cores: a lane has the sums of kOfFilters by kOfChannels
/// neighbours, so that of 16 channels it reads 6 values for 8 products, of 32 channels 12 for 32.
template <int kFiltersOf, int kChannelsOf>
struct InFloat32 {
  using Element = float;
  static constexpr int kFilters = kFiltersOf, kChannels = kChannelsOf, kDepth = kColumns;
  static constexpr int kAcross = kChannels < 16 ? kChannels / 2 : 4;  // lanes that share a filter
  static constexpr int kOfFilters = kFilters * kAcross / kWarp, kOfChannels = kChannels / kAcross;
  static constexpr const char* kCores = "";
  float sums[kOfFilters][kOfChannels];

  __device__ static int filter() { return static_cast<int>(threadIdx.x) % kWarp / kAcross * kOfFilters; }
  __device__ static int channel() { return static_cast<int>(threadIdx.x) % kAcross * kOfChannels; }

  __device__ void add(const float* dy, int, const float* x, int) {
    dy += filter();
    x += channel();
#pragma unroll
    for (int column = 0; column < kColumns; ++column, dy += pitch_of(kFilters), x += pitch_of(kChannels)) {
      const auto left = *reinterpret_cast<const Values<kOfFilters>*>(dy);
      const auto right = *reinterpret_cast<const Values<kOfChannels>*>(x);
#pragma unroll
      for (int f = 0; f < kOfFilters; ++f) {
#pragma unroll
        for (int c = 0; c < kOfChannels; ++c) sums[f][c] = fmaf(left.at[f], right.at[c], sums[f][c]);
      }
    }
  }

  template <class Visit>
  __device__ void for_each_pair(const Visit& visit) const {
#pragma unroll
    for (int f = 0; f < kOfFilters; ++f) {
#pragma unroll
      for (int c = 0; c < kOfChannels; c += 2) visit(filter() + f, channel() + c, float2{sums[f][c], sums[f][c + 1]});
    }
  }

 private:
  template <int kCount>
  struct alignas(kCount < 4 ? kCount * 4 : 16) Values {
    float at[kCount];
  };
};

/// How tiles lie in shared memory. kStride is that between the tile's own pixels: a filter of 1x1 leaves out the pixels
/// of x that it would stride over, so there it is 1.
template <class SumsOf, int kFilterOf, int kStrideOf>
struct Layout {
  using Sums = SumsOf;
  using Element = typename Sums::Element;
  static constexpr int kFilters = Sums::kFilters, kChannels = Sums::kChannels;  // of a slice
  static constexpr int kFilter = kFilterOf, kStride = kStrideOf;
  static constexpr int kTaps = kFilter * kFilter, kSharers = kTaps == 1 ? 4 : 1;  // warps that share a tap's steps
  static constexpr int kThreads = kWarp * kTaps * kSharers;
  static constexpr int kXPitch = pitch_of(kChannels), kDyPitch = pitch_of(kFilters);

  static constexpr int reach(int outputs) { return (outputs - 1) * kStride + kFilter; }
  static constexpr int elements_of(int rows) {
    return reach(rows) * reach(kColumns) * kXPitch + rows * kColumns * kDyPitch;
  }
  static constexpr bool fits(int rows) { return 2 * elements_of(rows) * sizeof(Element) <= 48 << 10; }

  static constexpr int kRows = fits(8) ? 8 : fits(4) ? 4 : 2;  // of dy
  static constexpr int kXRows = reach(kRows), kXColumns = reach(kColumns);
  static constexpr int kStepRows = Sums::kDepth / kColumns;  // rows of dy that are multiplied at once
  static_assert(kRows % kStepRows == 0);

  /// Where a column of x lies in its row.
  __device__ static constexpr int place(int column) {
    return column % kStride * ((kXColumns + kStride - 1) / kStride) + column / kStride;
  }

  struct Tile {
    alignas(16) Element x[kXRows * kXColumns * kXPitch];
    alignas(16) Element dy[kRows * kColumns * kDyPitch];
  };
  static_assert(2 * sizeof(Tile) <= 48 << 10);
};

template <class T>
struct Problem {
  const T *x, *dy;
  int H, W, C, P, Q, K;
  int stride, padding;
  int tile_rows, tile_columns;  // tiles of an image
  int tiles, run;               // all, and those of a block
};

/// Begins to copy a tile, channels from `c` and filters from `k` on.
template <class Layout, class T>
__device__ void begin_tile(const Problem<T>& of, int tile, int k, int c, typename Layout::Tile& to) {
  constexpr bool kFew = Layout::kChannels < 16;  // no pixel begins at 16 bytes
  constexpr int kXLanes = kFew ? 1 : kLanesOf<T>, kXVectors = Layout::kChannels / kXLanes;
  constexpr int kLanes = kLanesOf<T>, kVectors = Layout::kFilters / kLanes;
  const int q = tile % of.tile_columns * kColumns, p = tile / of.tile_columns % of.tile_rows * Layout::kRows;
  const std::int64_t n = tile / of.tile_columns / of.tile_rows;
  const int spacing = Layout::kTaps == 1 ? of.stride : 1;
  const T* const x = of.x + n * of.H * of.W * of.C + c;
  for (int i = static_cast<int>(threadIdx.x); i < Layout::kXRows * Layout::kXColumns * kXVectors;
       i += Layout::kThreads) {
    const int pixel = i / kXVectors, lane = i % kXVectors * kXLanes;
    const int row = pixel / Layout::kXColumns, column = pixel % Layout::kXColumns;
    const int h = p * of.stride + row * spacing - of.padding, w = q * of.stride + column * spacing - of.padding;
    const bool inside = h >= 0 && h < of.H && w >= 0 && w < of.W && (!kFew || lane < of.C);
    begin_copy<kXLanes * sizeof(T)>(&to.x[(row * Layout::kXColumns + Layout::place(column)) * Layout::kXPitch + lane],
                                    inside ? x + (static_cast<std::int64_t>(h) * of.W + w) * of.C + lane : x, inside);
  }
  const T* const dy = of.dy + n * of.P * of.Q * of.K + k;
  for (int i = static_cast<int>(threadIdx.x); i < Layout::kRows * kColumns * kVectors; i += Layout::kThreads) {
    const int pixel = i / kVectors, lane = i % kVectors * kLanes;
    const int row = p + pixel / kColumns, column = q + pixel % kColumns;
    const bool inside = row < of.P && column < of.Q;
    begin_copy<16>(&to.dy[pixel * Layout::kDyPitch + lane],
                   inside ? dy + (static_cast<std::int64_t>(row) * of.Q + column) * of.K + lane : dy, inside);
  }
}

/// Adds what the tap (r,s) makes of every kSharers-th step of a tile.
template <class Layout>
__device__ void multiply_tile(const typename Layout::Tile& tile, int r, int s, int share, typename Layout::Sums& sums) {
  constexpr int kXRow = Layout::kXColumns * Layout::kXPitch, kDyRow = kColumns * Layout::kDyPitch;
#pragma unroll 1
  for (int step = share; step < Layout::kRows / Layout::kStepRows; step += Layout::kSharers) {
    const int row = step * Layout::kStepRows;
    sums.add(tile.dy + row * kDyRow, kDyRow,
             tile.x + (row * Layout::kStride + r) * kXRow + Layout::place(s) * Layout::kXPitch,
             Layout::kStride * kXRow);
  }
}

template <class Layout>
__global__ void __launch_bounds__(Layout::kThreads)
    filter_gradient_kernel(Problem<typename Layout::Element> of, float* parts) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  __trap();  // filter_gradient_applies() says no
#else
  alignas(16) __shared__ typename Layout::Tile tiles[2];
  const int warp = static_cast<int>(threadIdx.x) / kWarp, tap = warp % Layout::kTaps, share = warp / Layout::kTaps;
  const int slice = static_cast<int>(blockIdx.y), across = (of.C + Layout::kChannels - 1) / Layout::kChannels;
  const int k = slice / across * Layout::kFilters, c = slice % across * Layout::kChannels;
  const int first = static_cast<int>(blockIdx.x) * of.run, end = min(first + of.run, of.tiles);
  typename Layout::Sums sums{};
  for (int next = first; next <= end; ++next) {  // the tile that is copied while the one before is multiplied
    if (next < end) begin_tile<Layout>(of, next, k, c, tiles[next % 2]);
    end_group();  // an empty one behind the last
    if (next == first) continue;
    wait_for_all_groups_but_one();
    __syncthreads();
    multiply_tile<Layout>(tiles[(next - 1) % 2], tap / Layout::kFilter, tap % Layout::kFilter, share, sums);
    __syncthreads();
  }
  const std::int64_t part = static_cast<std::int64_t>(blockIdx.x) * Layout::kSharers + share;
  float* const to = parts + part * of.K * Layout::kTaps * of.C;
  sums.for_each_pair([&](int filter, int channel, float2 pair) {
    float* const at = to + ((k + filter) * Layout::kTaps + tap) * of.C + c + channel;
    if constexpr (Layout::kChannels < 16) {
      if (channel < of.C) at[0] = pair.x;
      if (channel + 1 < of.C) at[1] = pair.y;
    } else {
      *reinterpret_cast<float2*>(at) = pair;
    }
  });
#endif
}

constexpr int kJoinRows = 16;

/// A block: kWarp elements of the gradient; row j adds parts j, j + kJoinRows, ..., then the rows are added in order.
__global__ void join_parts_kernel(const float* parts, int count_of_parts, int count, float* d_weight) {
  __shared__ float of_row[kJoinRows][kWarp];
  const int i = static_cast<int>(blockIdx.x * kWarp + threadIdx.x);
  float sum = 0.0f;
  if (i < count) {
#pragma unroll 8
    for (int part = static_cast<int>(threadIdx.y); part < count_of_parts; part += kJoinRows) {
      sum += parts[static_cast<std::int64_t>(part) * count + i];
    }
  }
  of_row[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || i >= count) return;
  for (int row = 1; row < kJoinRows; ++row) sum += of_row[row][threadIdx.x];
  d_weight[i] = sum;
}

/// How a problem is cut into parts: by its size, never by the device.
struct Cut {
  int tile_rows, tile_columns, tiles, run, blocks, slices, parts;

  /// Blocks: two or so a multiprocessor of a large card. Pixels a block: enough that it reads no less than it writes.
  template <class Layout>
  static Cut of(const Shape& y, std::int64_t channels) {
    constexpr int kBlocksWanted = 256, kFewestPixels = 256;
    Cut cut{};
    cut.tile_rows = blocks_for(y[1], Layout::kRows);
    cut.tile_columns = blocks_for(y[2], kColumns);
    cut.tiles = blocks_for(y[0] * cut.tile_rows * cut.tile_columns, 1);
    cut.slices = blocks_for(y[3], Layout::kFilters) * blocks_for(channels, Layout::kChannels);
    const int wanted = std::max(1, kBlocksWanted / cut.slices);
    cut.run = std::max(blocks_for(cut.tiles, wanted), kFewestPixels / (Layout::kRows * kColumns));
    cut.blocks = blocks_for(cut.tiles, cut.run);
    cut.parts = cut.blocks * Layout::kSharers;
    return cut;
  }
};

/// Calls body.operator()<Layout>() with the one for these filters.
template <class Body>
void with_layout(const Shape& filter, std::int64_t stride, DType maps, bool tf32, const Body& body) {
  const auto with_sums = [&]<class Sums>() {
    if (filter[1] == 1) return body.template operator()<Layout<Sums, 1, 1>>();
    if (stride == 1) return body.template operator()<Layout<Sums, 3, 1>>();
    body.template operator()<Layout<Sums, 3, 2>>();
  };
  const auto with_slice = [&]<int kSlice>() {
    if (maps == DType::bfloat16) return with_sums.template operator()<ByTensorCores<__nv_bfloat16, kSlice>>();
    if (tf32) return with_sums.template operator()<ByTensorCores<float, kSlice>>();
    with_sums.template operator()<InFloat32<kSlice, kSlice>>();
  };
  if (filter[3] <= kFewChannels) return with_sums.template operator()<InFloat32<16, kFewChannels>>();
  if (filter[0] % 32 == 0 && filter[3] % 32 == 0) return with_slice.template operator()<32>();
  with_slice.template operator()<16>();
}

/// Whether the code that this device runs has tensor cores and copies that nobody waits for: one between 7.5 and the next
/// that the program was compiled for runs what was compiled for 7.5.
bool has_code_for_80() {
  static const bool found = [] {
    cudaFuncAttributes attributes{};
    STAGEWISE_CHECK(cudaFuncGetAttributes(&attributes, filter_gradient_kernel<Layout<InFloat32<16, 16>, 3, 1>>));
    return attributes.ptxVersion >= 80;
  }();
  return found;
}

}  // namespace

bool filter_gradient_applies(const Shape& x, const Shape& filter, const Conv2dOptions& options, DType maps) {
  const auto is_slice = [](std::int64_t channels) { return channels % 16 == 0 && channels <= 64; };
  const bool square = filter[1] == filter[2] && (filter[1] == 1 || filter[1] == 3);
  return x.count() > 0 && filter.count() > 0 && convolution_output(x, filter, options).count() > 0 && square &&
         options.stride <= 2 && is_slice(filter[0]) &&
         (is_slice(filter[3]) || (filter[3] <= kFewChannels && maps == DType::float32)) && has_code_for_80();
}

void filter_gradient(const BareConvolution& call, bool tf32, cudaStream_t stream) {
  const Shape &x = call.x.shape(), &y = call.y.shape(), &filter = call.weight.shape();
  with_layout(filter, call.options.stride, call.x.dtype(), tf32, [&]<class Layout>() {
    using T = typename Layout::Element;
    const Cut cut = Cut::of<Layout>(y, x[3]);
    const auto size = [](std::int64_t value) { return static_cast<int>(value); };
    const Problem<T> problem{elements<T>(call.x),
                             elements<T>(call.y),
                             size(x[1]),
                             size(x[2]),
                             size(x[3]),
                             size(y[1]),
                             size(y[2]),
                             size(y[3]),
                             size(call.options.stride),
                             size(call.options.padding_before),
                             cut.tile_rows,
                             cut.tile_columns,
                             cut.tiles,
                             cut.run};
    const auto count = size(filter.count());
    const Tensor parts(call.x.backend(), {cut.parts, count});
    const dim3 grid(static_cast<unsigned>(cut.blocks), static_cast<unsigned>(cut.slices));
    filter_gradient_kernel<Layout><<<grid, Layout::kThreads, 0, stream>>>(problem, parts.data<float>());
    STAGEWISE_CHECK_LAUNCH(filter_gradient_kernel);
    join_parts_kernel<<<blocks_for(count, kWarp), dim3(kWarp, kJoinRows), 0, stream>>>(
        parts.data<float>(), cut.parts, count, call.weight.data<float>());
    STAGEWISE_CHECK_LAUNCH(join_parts_kernel);
  });
}

std::string filter_gradient_description(const Shape& x, const Shape& filter, const Conv2dOptions& options, DType maps,
                                        bool tf32) {
  std::string text;
  with_layout(filter, options.stride, maps, tf32, [&]<class Layout>() {
    const Cut cut = Cut::of<Layout>(convolution_output(x, filter, options), x[3]);
    text = concat("our own kernel", Layout::Sums::kCores, ", ", cut.blocks * cut.slices, " blocks, ", cut.parts,
                  " parts in ", cut.parts * filter.count() * 4 >> 10, " KiB");
  });
  return text;
}

}  // namespace stagewise::cuda
