// How the direct kernels go about a convolution: a plan depends only on shapes, so it is made once and kept.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernels/kernels.h"
#include "tensor/backend.h"

namespace stagewise::cpu {

/// A convolution's sizes, as in tensor/backend.h.
struct ConvolutionShape {
  std::int64_t images, height, width, channels;      // x
  std::int64_t out_height, out_width, out_channels;  // y
  std::int64_t filter_height, filter_width;
  Conv2dOptions options;
};
ConvolutionShape convolution_shape(const Tensor& x, const Tensor& weight, const Tensor& y,
                                   const Conv2dOptions& options);

/// One filter row of a sub-convolution: filter columns first, first + step, ... seen from left to right in the input.
struct FilterRow {
  std::int64_t staged_row, staged_column;  // of its first tap, for the sub-convolution's first output pixel
  std::int64_t row, first_column, columns, column_step;
};

/// A part of a convolution whose outputs form a grid: every `step`-th row and column from an offset on.
struct SubConvolution {
  std::int64_t row_offset, column_offset;  // of its first output
  std::int64_t rows, columns;              // of its grid
  std::vector<FilterRow> filter_rows;
  std::vector<TapRow> tap_rows;    // the same as offsets into the staged input
  std::int64_t taps = 0;           // floats under one pixel
  std::int64_t packed_offset = 0;  // of its weights among the packed ones
};

/// Forward: one sub-convolution. By data with stride s: dx falls into s x s grids, each a convolution of dy at stride 1
/// with the filter taps of its parity, so nothing is multiplied with the zeros between.
struct ConvolutionPlan {
  bool by_data = false;
  std::int64_t in_height, in_width, in_channels;  // of what is staged: x, or dy by data
  std::int64_t out_height, out_width, out_channels;
  std::int64_t input_stride = 1, output_step = 1;
  std::int64_t top = 0, left = 0, padded_width = 0;  // of the staged input
  std::int64_t tap_reach = 0;                        // staged rows that an output row looks down
  int vectors = 1;                                   // of channels in a block
  std::int64_t blocks = 0;                           // of output channels
  std::int64_t group_rows = 1;                       // grid rows computed together: a few dozen pixels, still in L1
  std::int64_t strip_rows = 1, strips = 1;           // grid rows of one work item, and how many items an image gives
  std::vector<SubConvolution> parts;
  std::int64_t packed_floats = 0;

  std::int64_t grid_rows() const { return (out_height + output_step - 1) / output_step; }
  std::int64_t staged_rows(std::int64_t grid_rows) const { return (grid_rows - 1) * input_stride + tap_reach + 1; }
};

ConvolutionPlan plan_forward(const ConvolutionShape& shape, const Kernels& kernels);
ConvolutionPlan plan_by_data(const ConvolutionShape& shape, const Kernels& kernels);

/// The filter [K,R,S,C] as the kernel reads it: for one part and block, [tap, vectors * lanes], zeros where channels
/// end.
void pack_weights(const ConvolutionPlan& plan, const SubConvolution& part, std::int64_t block, int lanes,
                  const ConvolutionShape& shape, const float* weight, float* packed);

}  // namespace stagewise::cpu
