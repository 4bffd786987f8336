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

/// Copies rows of an image, with zeros round it, into a buffer where every filter tap finds its pixel.
struct StageRows {
  const float* image;  // [height,width,channels]
  std::int64_t height, width, channels;
  std::int64_t first_row, rows;          // of the padded image; row `top` is the image's row 0
  std::int64_t top, left, padded_width;  // padding above and to the left; pixels in a padded row
  const ChannelCoefficients* normalise;  // or nullptr: copy relu((x - mean) * scale + shift)
  float* staged;                         // [rows,padded_width,channels], out
};

/// A run of filter taps that lie side by side in a staged row: `length` floats from `offset` on.
struct TapRow {
  std::ptrdiff_t offset;
  std::int64_t length;
};

/// Up to `group` output pixels side by side.
struct PixelGroup {
  const float* input;   // the staged address under the first pixel's first tap
  float* output;        // its channel 0
  std::int64_t pixels;  // how many of the group exist
};

/// Output pixels times one block of output channels.
struct ConvolutionBlock {
  const PixelGroup* groups;
  std::int64_t group_count;
  std::ptrdiff_t input_stride, output_stride;  // floats between neighbouring pixels of a group
  const TapRow* tap_rows;
  std::int64_t tap_row_count;
  const float* weights;                  // [tap floats, vectors * lanes]
  std::int64_t first_channel, channels;  // of the block, and how many of it exist
  int vectors;                           // 1 or 2
  const float* bias;                     // of the block's first channel, or nullptr
  bool has_addend;
  std::ptrdiff_t addend;  // with has_addend: output + addend is what to add
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
};

/// Where a gradient passes through a ReLU.
enum class ReluMask { none, output, normalised_input };

/// dz = dy through the mask, and sums of dz and dz * (x - mean) * inverse_deviation, added to `sums` in double.
struct BatchNormReduceRows {
  const float* dy;
  const float* y;  // ReluMask::output
  const float* x;
  ChannelCoefficients coefficients;  // scale and shift for ReluMask::normalised_input
  ReluMask mask;
  float* dz;  // may be dy; nullptr with ReluMask::none
  std::int64_t pixels, channels;
  double* weight_sums;  // [channels]
  double* bias_sums;    // [channels]
};

struct Kernels {
  int lanes;
  /// Output pixels side by side that the convolution takes as one group, for blocks of one and of two vectors.
  int group[3];

  void (*stage_rows)(const StageRows&);
  void (*convolution_block)(const ConvolutionBlock&);
  void (*weight_gradient_sweep)(const WeightGradientSweep&);

  /// Adds sums of (x - pivot) and of its square over the pixels, in double.
  void (*moment_sums)(const float* x, std::int64_t pixels, std::int64_t channels, const float* pivot, double* sum,
                      double* square_sum);
  /// y = relu?((x - mean) * scale + shift + addend), the addend normalised likewise if it has coefficients.
  void (*batch_norm_forward)(const float* x, const ChannelCoefficients& coefficients, const float* addend,
                             const ChannelCoefficients* addend_coefficients, bool relu, float* y, std::int64_t pixels,
                             std::int64_t channels);
  void (*batch_norm_reduce)(const BatchNormReduceRows&);
  /// dx = a * dz + b * (x - mean) + c, per channel.
  void (*batch_norm_backward)(const float* dz, const float* x, const float* mean, const float* a, const float* b,
                              const float* c, float* dx, std::int64_t pixels, std::int64_t channels);
  /// Adds each channel's sum over the pixels, in double.
  void (*channel_sums)(const float* x, std::int64_t pixels, std::int64_t channels, double* sums);

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

}  // namespace stagewise::cpu
