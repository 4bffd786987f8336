// Winograd's algorithm over rows of tiles (kernels/winograd.cpp has the formula). A work item takes some rows of tiles,
// through as many images as it needs to fill a block: stage the input rows (padding, normalise and ReLU on read),
// transform, multiply block of output channels by block, transform back, and finish the rows while they are in L2.
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

constexpr std::int64_t kSide = kWinogradSide;
// What is added to the distance between planes: off the powers of two, or they would share a few cache sets.
constexpr std::int64_t kPlanePadding = 16;

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// A thread's scratch buffers.
enum Slot { kStaged, kInputColumns, kInput, kProducts, kHalves, kGradientColumns, kGradient, kFilter };

/// Rows of tiles transformed down their columns; `row` then makes one row of positions of all of them.
struct Columns {
  std::int64_t channels, tile_columns, width, columns_row;
  float* data;
  std::int64_t tile, plane;  // of v
  float* v;

  Columns(Slot columns, Slot row, const TileRows& rows, std::int64_t width_, std::int64_t channels_, int lanes)
      : channels(channels_),
        tile_columns(rows.tile_columns),
        width(width_),
        columns_row(round_up(width * channels, lanes) + lanes),
        data(scratch_floats(columns, rows.block_rows * kSide * columns_row)),
        tile(round_up(channels, lanes)),
        plane(rows.block_tiles() * tile + kPlanePadding),
        v(scratch_floats(row, kSide * plane)) {}

  void transform(void (*kernel)(const WinogradColumns&), std::int64_t tile_row, const float* rows, std::int64_t row) {
    kernel({rows, row, width * channels, data + tile_row * kSide * columns_row, columns_row});
  }
  void row(void (*kernel)(const WinogradRow&), std::int64_t tile_rows, std::int64_t position_row) {
    for (std::int64_t tile_row = 0; tile_row < tile_rows; ++tile_row) {
      kernel({data + (tile_row * kSide + position_row) * columns_row, tile_columns, channels,
              v + tile_row * tile_columns * tile, plane, tile});
    }
  }
};

/// Stages the image rows under one row of tiles after the other; those that neighbours share only once.
class TileReader {
 public:
  TileReader(const Kernels& kernels, const TileRows& rows, const StageRows& stage, const float* images)
      : kernels_(kernels),
        rows_(rows),
        stage_(stage),
        images_(images),
        staged_row_(stage.padded_width * stage.channels),
        staged_(scratch_floats(kStaged, (rows.item_rows * 4 + 2) * staged_row_ + kernels.lanes)) {}

  std::int64_t staged_row() const { return staged_row_; }

  /// Part `part` of `parts` of the image rows that lie under `count` rows of tiles and not under the ones before.
  Prefetch prefetch(std::int64_t row, std::int64_t count, std::int64_t part, std::int64_t parts) const {
    const std::int64_t image_floats = stage_.height * stage_.width * stage_.channels;
    const auto at = [&](std::int64_t tile_row) {
      const std::int64_t first =
          tile_row % rows_.tile_rows * 4 + (tile_row % rows_.tile_rows == 0 ? 0 : 2 - stage_.top);
      return tile_row / rows_.tile_rows * image_floats + first * stage_.width * stage_.channels;
    };
    const std::int64_t begin = at(row), floats = (at(row + count) - begin + parts - 1) / parts;
    return {images_ + begin + part * floats, floats};
  }

  /// The six rows under tile row `row` of all images'.
  const float* read(std::int64_t row) {
    const std::int64_t image = row / rows_.tile_rows, first = row % rows_.tile_rows * 4;
    if (first != next_row_ || used_ + 4 > rows_.item_rows * 4 + 2) used_ = 0;
    const std::int64_t kept = used_ == 0 ? 0 : 2;
    stage_.image = images_ + image * stage_.height * stage_.width * stage_.channels;
    stage_.first_row = first + kept;
    stage_.rows = 6 - kept;
    stage_.staged = staged_ + used_ * staged_row_;
    kernels_.stage_rows(stage_);
    used_ += stage_.rows;
    next_row_ = first + 4 < rows_.tile_rows * 4 ? first + 4 : -1;
    return staged_ + (used_ - 6) * staged_row_;
  }

 private:
  const Kernels& kernels_;
  const TileRows& rows_;
  StageRows stage_;
  const float* images_;
  std::int64_t staged_row_;
  float* staged_;
  std::int64_t used_ = 0;       // staged rows
  std::int64_t next_row_ = -1;  // of the image: where a tile row must begin to go on
};

}  // namespace

void CpuBackend::convolve_winograd(const ConvolutionPlan& plan, const ConvolutionShape& shape,
                                   const ConvolutionRun& run, const float* packed) {
  const TileRows& rows = plan.tiles;
  const std::int64_t block_channels = static_cast<std::int64_t>(plan.vectors) * kernels_.lanes;
  const std::int64_t u_plane = plan.in_channels * block_channels, u_block = kSide * kSide * u_plane;
  const Tensor u(*this, {plan.blocks, u_block});
  pool_.run(plan.blocks * plan.in_channels, [&](std::int64_t item) {
    const std::int64_t block = item / plan.in_channels, at = item % plan.in_channels * block_channels;
    kernels_.winograd_filter(packed + block * 9 * u_plane + at, u_plane, u.data<float>() + block * u_block + at,
                             u_plane, block_channels);
  });

  const std::int64_t total_rows = shape.images * rows.tile_rows, output_row = plan.out_width * plan.out_channels;
  const auto output_offset = [&](std::int64_t row) {
    return (row / rows.tile_rows * plan.out_height + row % rows.tile_rows * 4) * output_row;
  };
  const auto output_rows = [&](std::int64_t row) {
    return std::min<std::int64_t>(4, plan.out_height - row % rows.tile_rows * 4);
  };
  pool_.run(plan.items(shape.images), [&](std::int64_t item) {
    TileReader reader(kernels_, rows,
                      {nullptr, plan.in_height, plan.in_width, plan.in_channels, 0, 0, plan.top, plan.left,
                       plan.padded_width, run.normalise, nullptr},
                      run.input);
    Columns input(kInputColumns, kInput, rows, plan.padded_width, plan.in_channels, kernels_.lanes);
    const std::int64_t half_plane = rows.block_tiles() * block_channels, half_block = kSide * 4 * half_plane;
    float* const products = scratch_floats(kProducts, kSide * half_plane);
    float* const halves = scratch_floats(kHalves, plan.blocks * half_block);
    const std::int64_t last = std::min((item + 1) * rows.item_rows, total_rows);
    for (std::int64_t first = item * rows.item_rows; first < last; first += rows.block_rows) {
      const std::int64_t count = std::min(rows.block_rows, last - first), tiles = count * rows.tile_columns;
      for (std::int64_t row = 0; row < count; ++row) {
        input.transform(kernels_.winograd_input_columns, row, reader.read(first + row), reader.staged_row());
      }
      const std::int64_t output_floats =
          output_offset(first + count - 1) + output_rows(first + count - 1) * output_row - output_offset(first);
      for (std::int64_t side = 0; side < kSide; ++side) {
        input.row(kernels_.winograd_input_row, count, side);
        for (std::int64_t block = 0; block < plan.blocks; ++block) {
          const std::int64_t part = side * plan.blocks + block, parts = kSide * plan.blocks;
          const std::int64_t floats = (output_floats + parts - 1) / parts;
          kernels_.winograd_multiply(
              {input.v,
               input.plane,
               input.tile,
               tiles,
               plan.in_channels,
               u.data<float>() + block * u_block + side * kSide * u_plane,
               plan.vectors,
               products,
               halves + block * half_block + side * 4 * tiles * block_channels,
               reader.prefetch(first + count, std::min(rows.block_rows, total_rows - first - count), part, parts),
               {run.output + output_offset(first) + part * floats, floats}});
        }
      }
      for (std::int64_t row = 0; row < count; ++row) {
        const std::int64_t offset = output_offset(first + row);
        for (std::int64_t block = 0; block < plan.blocks; ++block) {
          const std::int64_t channel = block * block_channels;
          kernels_.winograd_output(
              {halves + block * half_block + row * rows.tile_columns * block_channels, tiles * block_channels,
               rows.tile_columns, plan.vectors, run.output + offset + channel, output_row, plan.out_channels,
               output_rows(first + row), plan.out_width, std::min(block_channels, plan.out_channels - channel),
               run.bias != nullptr ? run.bias + channel : nullptr, run.addend != nullptr,
               run.addend != nullptr ? run.addend - run.output : 0});
        }
        run.epilogue(kernels_, item, run.output, offset, output_rows(first + row) * plan.out_width, plan.out_channels);
      }
    }
  });
}

void CpuBackend::winograd_weights(const WeightsPlan& plan, const WeightsRun& run, std::int64_t begin, std::int64_t end,
                                  float* filter, double* bias) {
  const ConvolutionShape& shape = run.shape;
  const TileRows& rows = plan.tiles;
  const std::int64_t channels = shape.out_channels, width = rows.tile_columns * 4;
  TileReader reader(kernels_, rows,
                    {nullptr, shape.height, shape.width, shape.channels, 0, 0, shape.options.padding_before,
                     shape.options.padding_before, width + 2, run.normalise, nullptr},
                    run.x);
  Columns input(kInputColumns, kInput, rows, width + 2, shape.channels, kernels_.lanes);
  Columns gradient(kGradientColumns, kGradient, rows, width, channels, kernels_.lanes);
  const std::int64_t du_plane = shape.channels * plan.stored_channels + kPlanePadding;
  float* const du = scratch_floats(kFilter, kSide * kSide * du_plane);
  float* const padded = scratch_floats(kHalves, 4 * width * channels + kernels_.lanes);
  std::fill_n(du, kSide * kSide * du_plane, 0.0f);
  for (std::int64_t first = begin; first < end; first += rows.block_rows) {
    const std::int64_t count = std::min(rows.block_rows, end - first);
    for (std::int64_t row = 0; row < count; ++row) {
      input.transform(kernels_.winograd_input_columns, row, reader.read(first + row), reader.staged_row());
      const std::int64_t y = (first + row) % rows.tile_rows * 4,
                         height = std::min<std::int64_t>(4, shape.out_height - y);
      const std::int64_t pixel = ((first + row) / rows.tile_rows * shape.out_height + y) * shape.out_width;
      const float* dy = run.read_dy(kernels_, pixel, height * shape.out_width, bias);
      if (height < 4 || shape.out_width % 4 != 0 || channels % kernels_.lanes != 0) {
        kernels_.stage_rows({dy, height, shape.out_width, channels, 0, 4, 0, 0, width, nullptr, padded});
        dy = padded;
      }
      gradient.transform(kernels_.winograd_gradient_columns, row, dy, width * channels);
    }
    for (std::int64_t side = 0; side < kSide; ++side) {
      input.row(kernels_.winograd_input_row, count, side);
      gradient.row(kernels_.winograd_gradient_row, count, side);
      kernels_.winograd_accumulate(
          {input.v, input.plane, input.tile, gradient.v, gradient.plane, gradient.tile, count * rows.tile_columns,
           shape.channels, plan.blocks, static_cast<int>(plan.vectors), du + side * kSide * du_plane, du_plane,
           plan.stored_channels,
           reader.prefetch(first + count, std::min(rows.block_rows, end - first - count), side, kSide)});
    }
  }
  const std::int64_t floats = shape.channels * plan.stored_channels;
  kernels_.winograd_filter_gradient(du, du_plane, filter, floats, floats);
}

}  // namespace stagewise::cpu
