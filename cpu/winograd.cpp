// Winograd's algorithm over rows of tiles (kernels/winograd.cpp has the formula). A work item takes some rows of tiles,
// through as many images as it needs to fill a block: stage the input rows (padding, normalise and ReLU on read),
// transform, multiply block of output channels by block, transform back, and finish the rows while they are in L2.
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

// What is added to the distance between planes: off the powers of two, or all 36 would share a few cache sets.
constexpr std::int64_t kPlanePadding = 16;

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Transformed tiles [36][tile][channel] in a scratch buffer.
struct TransformedTiles {
  std::int64_t tile, plane;
  float* data;
  TransformedTiles(int slot, std::int64_t tiles, std::int64_t channels)
      : tile(channels),
        plane(tiles * channels + kPlanePadding),
        data(scratch_floats(slot, kWinogradPositions * plane)) {}
};

/// Stages the rows of an image under one row of tiles after the other, those that neighbours share only once, and
/// transforms them.
class TileReader {
 public:
  TileReader(const Kernels& kernels, const TileRows& rows, const StageRows& stage, const float* images)
      : kernels_(kernels),
        rows_(rows),
        stage_(stage),
        images_(images),
        staged_row_(stage.padded_width * stage.channels),
        strip_row_(round_up(staged_row_, kernels.lanes) + kernels.lanes),
        staged_(scratch_floats(0, (rows.item_rows * 4 + 2) * staged_row_ + kernels.lanes)),
        strip_(scratch_floats(1, 6 * strip_row_)) {}

  /// v's tiles from `first_tile` on: those of row `row` of all images'.
  void read(std::int64_t row, const TransformedTiles& v, std::int64_t first_tile) {
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
    kernels_.winograd_input({staged_ + (used_ - 6) * staged_row_, staged_row_, rows_.tile_columns, stage_.channels,
                             strip_, strip_row_, v.data + first_tile * v.tile, v.plane, v.tile});
  }

 private:
  const Kernels& kernels_;
  const TileRows& rows_;
  StageRows stage_;
  const float* images_;
  std::int64_t staged_row_, strip_row_;
  float* staged_;
  float* strip_;
  std::int64_t used_ = 0;       // staged rows
  std::int64_t next_row_ = -1;  // of the image: where a tile row must begin to go on
};

}  // namespace

void CpuBackend::convolve_winograd(const ConvolutionPlan& plan, const ConvolutionShape& shape,
                                   const ConvolutionRun& run, const float* packed) {
  const TileRows& rows = plan.tiles;
  const std::int64_t block_channels = static_cast<std::int64_t>(plan.vectors) * kernels_.lanes;
  const std::int64_t u_plane = plan.in_channels * block_channels, u_block = kWinogradPositions * u_plane;
  const Tensor u(*this, {plan.blocks, u_block});
  pool_.run(plan.blocks * plan.in_channels, [&](std::int64_t item) {
    const std::int64_t block = item / plan.in_channels, at = item % plan.in_channels * block_channels;
    kernels_.winograd_filter(packed + block * 9 * u_plane + at, u_plane, u.data<float>() + block * u_block + at,
                             u_plane, block_channels);
  });

  const std::int64_t total_rows = shape.images * rows.tile_rows, output_row = plan.out_width * plan.out_channels;
  pool_.run(plan.items(shape.images), [&](std::int64_t item) {
    TileReader reader(kernels_, rows,
                      {nullptr, plan.in_height, plan.in_width, plan.in_channels, 0, 0, plan.top, plan.left,
                       plan.padded_width, run.normalise, nullptr},
                      run.input);
    const TransformedTiles v(2, rows.block_tiles(), round_up(plan.in_channels, kernels_.lanes));
    const TransformedTiles m(3, rows.block_tiles(), block_channels);
    const std::int64_t last = std::min((item + 1) * rows.item_rows, total_rows);
    for (std::int64_t first = item * rows.item_rows; first < last; first += rows.block_rows) {
      const std::int64_t count = std::min(rows.block_rows, last - first);
      for (std::int64_t row = 0; row < count; ++row) reader.read(first + row, v, row * rows.tile_columns);
      const auto output_offset = [&](std::int64_t row) {
        return (row / rows.tile_rows * plan.out_height + row % rows.tile_rows * 4) * output_row;
      };
      const auto output_rows = [&](std::int64_t row) {
        return std::min<std::int64_t>(4, plan.out_height - row % rows.tile_rows * 4);
      };
      for (std::int64_t block = 0; block < plan.blocks; ++block) {
        kernels_.winograd_multiply({v.data, v.plane, v.tile, count * rows.tile_columns, plan.in_channels,
                                    u.data<float>() + block * u_block, u_plane, plan.vectors, m.data, m.plane});
        const std::int64_t channel = block * block_channels;
        for (std::int64_t row = 0; row < count; ++row) {
          kernels_.winograd_output({m.data + row * rows.tile_columns * m.tile, m.plane, rows.tile_columns, plan.vectors,
                                    run.output + output_offset(first + row) + channel, output_row, plan.out_channels,
                                    output_rows(first + row), plan.out_width,
                                    std::min(block_channels, plan.out_channels - channel),
                                    run.bias != nullptr ? run.bias + channel : nullptr, run.addend != nullptr,
                                    run.addend != nullptr ? run.addend - run.output : 0});
        }
      }
      for (std::int64_t row = first; row < first + count; ++row) {
        run.epilogue(kernels_, item, run.output, output_offset(row), output_rows(row) * plan.out_width,
                     plan.out_channels);
      }
    }
  });
}

void CpuBackend::winograd_weights(const WeightsPlan& plan, const WeightsRun& run, std::int64_t begin, std::int64_t end,
                                  float* filter, double* bias) {
  const ConvolutionShape& shape = run.shape;
  const TileRows& rows = plan.tiles;
  const std::int64_t channels = shape.out_channels, padded_row = rows.tile_columns * 4 * channels;
  TileReader reader(kernels_, rows,
                    {nullptr, shape.height, shape.width, shape.channels, 0, 0, shape.options.padding_before,
                     shape.options.padding_before, rows.tile_columns * 4 + 2, run.normalise, nullptr},
                    run.x);
  const TransformedTiles v(2, rows.block_tiles(), round_up(shape.channels, kernels_.lanes));
  const TransformedTiles w(3, rows.block_tiles(), plan.stored_channels);
  const std::int64_t du_plane = shape.channels * plan.stored_channels + kPlanePadding;
  float* const du = scratch_floats(4, kWinogradPositions * du_plane);
  float* const padded = scratch_floats(5, 4 * padded_row + kernels_.lanes);
  std::fill_n(du, kWinogradPositions * du_plane, 0.0f);
  for (std::int64_t first = begin; first < end; first += rows.block_rows) {
    const std::int64_t count = std::min(rows.block_rows, end - first);
    for (std::int64_t row = first; row < first + count; ++row) {
      reader.read(row, v, (row - first) * rows.tile_columns);
      const std::int64_t y = row % rows.tile_rows * 4, height = std::min<std::int64_t>(4, shape.out_height - y);
      const std::int64_t pixel = (row / rows.tile_rows * shape.out_height + y) * shape.out_width;
      const float* dy = run.read_dy(kernels_, pixel, height * shape.out_width, bias);
      std::int64_t dy_row = shape.out_width * channels;
      if (height < 4 || shape.out_width % 4 != 0 || channels % kernels_.lanes != 0) {
        kernels_.stage_rows(
            {dy, height, shape.out_width, channels, 0, 4, 0, 0, rows.tile_columns * 4, nullptr, padded});
        dy = padded, dy_row = padded_row;
      }
      kernels_.winograd_gradient({dy, dy_row, channels, rows.tile_columns, channels,
                                  w.data + (row - first) * rows.tile_columns * w.tile, w.plane, w.tile});
    }
    kernels_.winograd_accumulate({v.data, v.plane, v.tile, w.data, w.plane, w.tile, count * rows.tile_columns,
                                  shape.channels, plan.blocks, static_cast<int>(plan.vectors), du, du_plane,
                                  plan.stored_channels});
  }
  const std::int64_t floats = shape.channels * plan.stored_channels;
  kernels_.winograd_filter_gradient(du, du_plane, filter, floats, floats);
}

}  // namespace stagewise::cpu
