// How a convolution is computed: by which algorithm and in which blocks. A plan depends only on shapes, never on the
// number of threads, so it is made once and kept. (Of the number of images only that of a few: kManyImages.)
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cpu/kernels/kernels.h"
#include "tensor/backend.h"

namespace stagewise::cpu {

/// The smallest multiple that is not below `value`.
constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Rows of `columns` floats that lie `from_row` apart, and zeros behind each up to `to_row`: vectors can be read whole.
inline void copy_rows(const float* from, std::int64_t from_row, std::int64_t rows, std::int64_t columns, float* to,
                      std::int64_t to_row) {
  for (std::int64_t row = 0; row < rows; ++row, from += from_row, to += to_row) {
    std::fill(std::copy_n(from, columns, to), to + to_row, 0.0f);
  }
}

/// A convolution's sizes, as in tensor/backend.h.
struct ConvolutionShape {
  std::int64_t images, height, width, channels;      // x
  std::int64_t out_height, out_width, out_channels;  // y
  std::int64_t filter_height, filter_width;
  Conv2dOptions options;
};
ConvolutionShape convolution_shape(const Tensor& x, const Tensor& weight, const Tensor& y,
                                   const Conv2dOptions& options);

/// From so many images on, a batch gives every thread work; for fewer, images are cut into smaller items.
constexpr std::int64_t kManyImages = 16;

enum class Algorithm { direct, winograd };

/// Which algorithm takes fewer steps.
struct AlgorithmChoice {
  Algorithm algorithm = Algorithm::direct;
  WinogradForm form = WinogradForm::stride1;  // with Algorithm::winograd
  std::string reason;
};

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
  std::vector<PixelGroup> groups;  // of the grid rows that are computed together, row by row
  std::int64_t row_groups = 0;     // in a row
  std::int64_t taps = 0;           // floats under one pixel
  std::int64_t packed_offset = 0;  // of its weights among the packed ones
};

/// Rows of Winograd's output tiles, counted through all images: row g lies in image g / tile_rows.
struct TileRows {
  std::int64_t tile_rows = 0, tile_columns = 0;  // of an image
  std::int64_t block_rows = 1;                   // tile rows transformed and multiplied together: they stay in L2
  std::int64_t item_rows = 1;                    // tile rows of one work item, a multiple of block_rows
  std::int64_t block_tiles() const { return block_rows * tile_columns; }
};

/// Forward: one sub-convolution. By data with stride s: dx falls into s x s grids, each a convolution of dy at stride 1
/// with the filter taps of its parity, so nothing is multiplied with the zeros between.
struct ConvolutionPlan {
  AlgorithmChoice choice;
  bool by_data = false;
  std::int64_t in_height, in_width, in_channels;  // of what is staged: x, or dy by data
  std::int64_t out_height, out_width, out_channels;
  std::int64_t input_stride = 1, output_step = 1;
  std::int64_t stage_step = 1;                       // a 1x1 filter with a stride stages what it reads, side by side
  std::int64_t top = 0, left = 0, padded_width = 0;  // of the staged input
  std::int64_t tap_reach = 0;                        // staged rows that an output row looks down
  int vectors = 1;                                   // of channels in a block
  std::int64_t blocks = 0;                           // of output channels
  std::int64_t group_rows = 1;                       // grid rows computed together: a few dozen pixels, still in L1
  std::int64_t strip_rows = 1, strips = 1;           // grid rows of one work item, and how many items an image gives
  TileRows tiles;                                    // with Algorithm::winograd, instead of groups and strips
  std::int64_t part_blocks = 0;  // and the blocks of channels of a work item: of a large filter, a few
  std::vector<SubConvolution> parts;
  std::int64_t packed_floats = 0;

  /// Work items for so many images; with channel_parts(), each is so many.
  std::int64_t items(std::int64_t images) const;
  std::int64_t channel_parts() const { return (blocks + part_blocks - 1) / part_blocks; }
  std::int64_t grid_rows() const { return (out_height + output_step - 1) / output_step; }
  /// Rows of the input that are staged, without padding.
  std::int64_t staged_height() const { return (in_height + stage_step - 1) / stage_step; }
  std::int64_t staged_rows(std::int64_t grid_rows) const { return (grid_rows - 1) * input_stride + tap_reach + 1; }
};

/// With `strict`, direct kernels only.
ConvolutionPlan plan_forward(const ConvolutionShape& shape, const Kernels& kernels, bool strict);
ConvolutionPlan plan_by_data(const ConvolutionShape& shape, const Kernels& kernels, bool strict);

/// The gradient of the filter. Work items are chunks of the batch, each of which sums into a filter of its own, or, of a
/// large filter, its parts.
struct WeightsPlan {
  AlgorithmChoice choice;
  bool in_parts = false;
  std::int64_t vectors, block_channels, blocks, stored_channels;          // stored: rounded up to whole blocks
  std::int64_t taps, filter_floats;                                       // taps: floats under a pixel, all filter rows
  std::int64_t padded_width, sweep_rows = 0, strip_rows = 0, strips = 0;  // direct
  std::int64_t stride = 1, stage_step = 1;                                // direct: as in ConvolutionPlan
  TileRows tiles;                                                         // Winograd
  // In parts: the taps of one, all of one row of the filter (Winograd: of its channels), its blocks of channels, and how
  // many lie along the taps.
  std::int64_t part_taps = 0, part_blocks = 0, tap_parts = 0;

  /// What is read at once: strips of images or rows of tiles, of which chunks are made; in parts, images or blocks of
  /// rows of tiles.
  std::int64_t units(std::int64_t images) const;
  std::int64_t chunks(std::int64_t images) const;
  std::int64_t channel_parts() const { return (blocks + part_blocks - 1) / part_blocks; }
  std::int64_t parts() const { return tap_parts * channel_parts(); }
};
WeightsPlan plan_weights(const ConvolutionShape& shape, const Kernels& kernels, bool strict);

/// The filter [K,R,S,C] as the kernel reads it: for one part and block, [tap, vectors * lanes], zeros where channels
/// end.
void pack_weights(const ConvolutionPlan& plan, const SubConvolution& part, std::int64_t block, int lanes,
                  const ConvolutionShape& shape, const float* weight, float* packed);

}  // namespace stagewise::cpu
