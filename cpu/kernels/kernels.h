// The inner loops of the CPU backend, behind one table for each instruction set. A kernel sees plain pointers and works
// on a few rows; threads, tensors and plans are the callers' (cpu/*.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace stagewise::cpu {

/// Per-channel vectors of a batch norm; nullptr members where a kernel doesn't need them.
struct ChannelCoefficients {
  const float* mean = nullptr;
  const float* inverse_deviation = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
};

/// Elements of a feature map in memory: floats or, narrow, the bits of bfloat16.
struct Elements {
  void* data = nullptr;
  bool narrow = false;
};

/// Memory that will be needed soon, fetched bit by bit while something else computes.
struct Prefetch {
  const void* from = nullptr;
  std::int64_t bytes = 0;

  /// The `number`-th of `parts` equal parts.
  Prefetch part(std::int64_t number, std::int64_t parts) const {
    const std::int64_t size = (bytes + parts - 1) / parts;
    return {static_cast<const char*>(from) + number * size, size};
  }
};

/// Copies rows of an image, with zeros round it, into a buffer where every filter tap finds its pixel; with a step,
/// only every so many pixels of every so many rows.
struct StageRows {
  Elements image;  // [height,width,channels]
  std::int64_t height, width, channels;
  std::int64_t first_row, rows;          // of the padded image; row `top` is the image's row 0
  std::int64_t top, left, padded_width;  // padding above and to the left; pixels in a padded row
  const ChannelCoefficients* normalise;  // or nullptr: copy relu((x - mean) * scale + shift)
  float* staged;                         // [rows,padded_width,channels], out
  std::int64_t step = 1;                 // more only without padding
};

/// A run of filter taps that lie side by side in a staged row: `length` floats from `offset` on, `row` rows down.
struct TapRow {
  std::ptrdiff_t offset;
  std::int64_t length, row;
};

/// Up to `group` output pixels side by side.
struct PixelGroup {
  std::ptrdiff_t input;   // where in the staged rows the first pixel's first tap lies
  std::ptrdiff_t output;  // and where in the output its channel 0
  std::int64_t pixels;    // how many of the group exist
  std::int64_t row;       // the staged row of `input`
};

/// Output pixels times one block of output channels.
struct ConvolutionBlock {
  const PixelGroup* groups;  // from above to below
  std::int64_t group_count;
  const float* input;  // staged rows, of which [first_row, end_row) are the image's and the others zero
  std::int64_t first_row, end_row;
  float* output;
  std::ptrdiff_t input_stride, output_stride;  // floats between neighbouring pixels of a group
  const TapRow* tap_rows;
  std::int64_t tap_row_count;
  const float* weights;                  // [tap floats, vectors * lanes]
  std::int64_t first_channel, channels;  // of the block, and how many of it exist
  int vectors;                           // 1 or 2
  const float* bias;                     // of the block's first channel, or nullptr
  bool has_addend;
  std::ptrdiff_t addend;  // with has_addend: output + addend is what to add
  Prefetch soon[2];
};

/// d_weights += staged x (by tap) times dy (by channel), summed over the pixels of some rows.
struct WeightGradientSweep {
  const float* staged;                      // the staged address under the first pixel's first tap of this tap row
  std::ptrdiff_t staged_row, staged_pixel;  // floats between output rows and pixels
  std::int64_t taps;                        // floats side by side under one pixel
  const float* dy;
  std::ptrdiff_t dy_row, dy_pixel;
  std::int64_t rows, columns;
  std::int64_t channel_blocks;  // blocks of vectors * lanes channels; dy must be readable that far
  int vectors;
  float* d_weights;  // [taps, d_weights_stride]
  std::ptrdiff_t d_weights_stride;
  Prefetch soon[3];
};

/// The forms of Winograd's algorithm: for a filter of 3x3 at stride 1, at stride 2, and by data at stride 2 with
/// padding 0 or 1 before the image (kernels/winograd_forms.h).
enum class WinogradForm { stride1, stride2, stride2_data0, stride2_data1 };
constexpr int kWinogradForms = 4;

/// The positions of a transformed tile are worked off row by row, so that what belongs to a row of them stays in L1
/// between the steps. A form has so many of them at most, and so many rows of pixels under a tile:
constexpr int kMostProducts = 6;

/// Down the columns of one row of tiles: columns = Bt x, or A dy. Outside the image both are zero.
struct WinogradColumns {
  const float* rows[kMostProducts];            // of pixels under the tiles
  std::int64_t floats;                         // of a row of the image
  std::int64_t padding_before, padded_floats;  // where it lies in a row of columns, and how long that is
  float* columns;                              // a row a plane, each writable a vector past its end, out
  std::ptrdiff_t column_row;
};

/// Along one row of those, for one row of tiles: v [plane][tile][channel] = (Bt x) B, or (A dy) At.
struct WinogradRow {
  const float* columns;
  std::int64_t tiles, channels;
  float* v;  // out; writable to whole vectors of channels
  std::ptrdiff_t v_plane, v_tile;
};

/// half = (v u) A for one row of positions: products of [tiles, channels] and [channels, vectors * lanes], and the
/// first half of the transform back.
struct WinogradMultiply {
  const float* v;
  std::ptrdiff_t v_plane, v_tile;
  std::int64_t tiles, channels;
  const float* u;  // [products][channels][vectors * lanes]
  int vectors;
  float* m;     // scratch: [products][tile][vectors * lanes]
  float* half;  // [outputs][tile][vectors * lanes], out
  Prefetch soon[5];
};

/// y = At half (+ bias) (+ addend) for one row of tiles and one block of channels.
struct WinogradOutput {
  const float* half;  // [products][outputs][block's tiles][vectors * lanes], at the row's first tile
  std::ptrdiff_t half_plane;
  std::int64_t tiles;
  int vectors;
  float* y;  // the first tile's first pixel, at the block's first channel
  std::ptrdiff_t y_row, y_pixel;
  std::int64_t rows, columns, channels;  // that exist, below the first tile row, and from the first tile and channel on
  const float* bias;                     // of the block's first channel, or nullptr
  bool has_addend;
  std::ptrdiff_t addend;  // with has_addend: y + addend is what to add
};

/// du = (first ? 0 : du) + vt w for one row of positions, summed over tiles.
struct WinogradAccumulate {
  const float* v;
  std::ptrdiff_t v_plane, v_tile;
  const float* w;
  std::ptrdiff_t w_plane, w_tile;
  std::int64_t tiles, channels, blocks;  // blocks of vectors * lanes output channels
  int vectors;
  float* du;  // [products][channel][output channel], in and out
  std::ptrdiff_t du_plane, du_channel;
  bool first;
  Prefetch soon[3];
};

/// The values of a transform that differ: product i takes plane of_product[i], in rising order.
struct WinogradPlanes {
  int count = 0;
  const int* of_product = nullptr;
};

/// One form's kernels. What only the gradient of the filter needs is missing by data.
struct WinogradKernels {
  int inputs, input_step;  // rows or columns of the input under a tile, and from one tile to the next
  int outputs;             // rows or columns of a tile of outputs
  int products;            // positions on a side of a transformed tile
  WinogradPlanes input_planes, gradient_planes;

  /// Rows or columns of the input under so many tiles side by side.
  std::int64_t input_size(std::int64_t tiles) const { return input_step * (tiles - 1) + inputs; }

  void (*input_columns)(const WinogradColumns&);
  void (*input_row)(const WinogradRow&);
  void (*multiply)(const WinogradMultiply&);
  void (*output)(const WinogradOutput&);
  void (*gradient_columns)(const WinogradColumns&);
  void (*gradient_row)(const WinogradRow&);
  void (*accumulate)(const WinogradAccumulate&);
  /// u = G g Gt for `count` filters, a multiple of the lanes, that lie side by side: g [9][count], u
  /// [products^2][count].
  void (*filter)(const float* g, std::ptrdiff_t g_tap, float* u, std::ptrdiff_t u_plane, std::int64_t count);
  /// dg = Gt du G, likewise.
  void (*filter_gradient)(const float* du, std::ptrdiff_t du_plane, float* dg, std::ptrdiff_t dg_tap,
                          std::int64_t count);
};

/// Where a gradient passes through a ReLU.
enum class ReluMask { none, output, normalised_input };

/// dz = dy through the mask, and sums of dz and dz * (x - mean) * inverse_deviation, added to `sums` in double.
struct BatchNormReduceRows {
  Elements dy;
  Elements x;
  Elements y;                        // ReluMask::output: the ReLU's output, as x
  ChannelCoefficients coefficients;  // scale and shift for ReluMask::normalised_input
  ReluMask mask;
  Elements dz;  // as dy, and may be dy; none with ReluMask::none
  std::int64_t pixels, channels;
  double* weight_sums;  // [channels]
  double* bias_sums;    // [channels]
};

/// The windows of one row of maxima. Those over the image's edge end there.
struct MaxPoolRow {
  const float* x = nullptr;              // the image's rows under the windows
  std::int64_t rows, width, channels;    // of x
  std::int64_t columns;                  // windows
  std::int64_t window, stride, padding;  // columns: of a window, from one to the next, and before the image
  float* y = nullptr;                    // forward: the maxima, out
  const float* dy = nullptr;             // backward
  float* dx = nullptr;                   // backward: as x, added to
};

/// What all elements of a parameter share in a step of AdamW; kernels/adamw.cpp has the formula.
struct AdamWFactors {
  float decay;          // learning rate * weight decay
  float step;           // learning rate / (1 - beta1^t)
  float correction;     // 1 / sqrt(1 - beta2^t)
  float beta1, share1;  // share = 1 - beta, taken before rounding
  float beta2, share2;
  float epsilon;
};

struct Kernels {
  int lanes;
  /// Output pixels side by side that the convolution takes as one group, for blocks of one and of two vectors.
  int group[3];

  void (*stage_rows)(const StageRows&);
  void (*convolution_block)(const ConvolutionBlock&);
  void (*weight_gradient_sweep)(const WeightGradientSweep&);

  const WinogradKernels* forms;  // [kWinogradForms]
  const WinogradKernels& winograd(WinogradForm form) const { return forms[static_cast<int>(form)]; }

  /// Adds sums of (x - pivot) and of its square over the pixels, in double.
  void (*moment_sums)(Elements x, std::int64_t pixels, std::int64_t channels, const float* pivot, double* sum,
                      double* square_sum);
  /// y = relu?((x - mean) * scale + shift + addend), the addend normalised likewise if it has coefficients. All of one
  /// type.
  void (*batch_norm_forward)(Elements x, const ChannelCoefficients& coefficients, Elements addend,
                             const ChannelCoefficients* addend_coefficients, bool relu, Elements y, std::int64_t pixels,
                             std::int64_t channels);
  void (*batch_norm_reduce)(const BatchNormReduceRows&);
  /// dx = a * dz + b * (x - mean) + c, per channel. dz and x are of one type.
  void (*batch_norm_backward)(Elements dz, Elements x, const float* mean, const float* a, const float* b,
                              const float* c, Elements dx, std::int64_t pixels, std::int64_t channels);
  /// Adds each channel's sum over the pixels, in double.
  void (*channel_sums)(const float* x, std::int64_t pixels, std::int64_t channels, double* sums);

  void (*max_pool_forward)(const MaxPoolRow&);
  void (*max_pool_backward)(const MaxPoolRow&);

  /// Between float and the bits of bfloat16.
  void (*widen)(const std::uint16_t* narrow, float* wide, std::int64_t count);
  void (*narrow)(const float* wide, std::uint16_t* narrow, std::int64_t count);

  void (*add)(const float* a, const float* b, float* out, std::int64_t count);
  void (*relu_forward)(const float* x, float* y, std::int64_t count);
  void (*relu_backward)(const float* dy, const float* y, float* dx, std::int64_t count);
  float (*dot)(const float* a, const float* b, std::int64_t count);
  /// y += a * x.
  void (*axpy)(float a, const float* x, float* y, std::int64_t count);
  void (*axpy_double)(double a, const double* x, double* y, std::int64_t count);
  void (*scale)(float a, float* x, std::int64_t count);
  void (*sgd)(float* value, const float* gradient, float* velocity, std::int64_t count, float learning_rate,
              float momentum, float weight_decay, bool nesterov);
  void (*adamw)(float* value, const float* gradient, float* first, float* second, std::int64_t count,
                const AdamWFactors& factors);
  /// average += rate * (value - average), each operation rounded: the same bits with every instruction set.
  void (*average)(float* average, const float* value, std::int64_t count, float rate);
  /// y = bytes * scale - offset.
  void (*bytes_to_floats)(const std::uint8_t* bytes, const float* scale, const float* offset, float* y,
                          std::int64_t count);
};

namespace portable {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
namespace avx512_emulated {
extern const Kernels kernels;
}
namespace neon {
extern const Kernels kernels;
}

}  // namespace stagewise::cpu
