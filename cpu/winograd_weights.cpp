// Winograd's algorithm by weights: x and dy transformed, multiplied tile by tile, and the sum transformed back once. Of a
// filter that fits the cache, each work item sums over some rows of tiles. Of a large one (filter_parts.h says why), all
// tiles are transformed first, and the work items are parts of the filter.
#include <array>

#include "cpu/filter_parts.h"
#include "cpu/winograd_tiles.h"

namespace stagewise::cpu {
namespace {

/// The transformed tiles of x and dy, a block of rows of tiles at a time, and of them one row of positions.
class GradientTiles {
 public:
  GradientTiles(const Kernels& kernels, const WeightsPlan& plan, const WeightsRun& run)
      : kernels_(kernels),
        form_(kernels.winograd(plan.choice.form)),
        rows_(plan.tiles),
        run_(run),
        dy_(rows_, form_, run.shape.out_height, run.shape.out_width, run.shape.out_channels),
        zeros_(zero_floats(std::max(dy_.row_floats(), run.shape.width * run.shape.channels))),
        reader_(kernels, form_, rows_, run.x, run.shape.height, run.shape.width, run.shape.channels,
                run.shape.options.padding_before, run.normalise, zeros_),
        input_(Scratch::input_columns, Scratch::input, form_.input_planes, rows_, form_.input_size(rows_.tile_columns),
               run.shape.channels, kernels.lanes),
        gradient_(Scratch::gradient_columns, Scratch::gradient, form_.gradient_planes, rows_,
                  rows_.tile_columns * form_.outputs, run.shape.out_channels, kernels.lanes) {}

  const Columns& input() const { return input_; }
  const Columns& gradient() const { return gradient_; }

  /// Tile rows [first, first + count), and their dy added up in `bias` if there is one.
  void read(std::int64_t first, std::int64_t count, double* bias) {
    count_ = count;
    for (std::int64_t row = 0; row < count; ++row) {
      reader_.read(first + row, input_, row, run_.shape.options.padding_before);
      const float* const dy =
          run_.read_dy(kernels_, dy_.offset(first + row) / dy_.channels, dy_.pixels(first + row), bias);
      gradient_.transform(form_.gradient_columns, row, {dy, dy_.height(first + row), dy_.row_floats(), zeros_}, 0, 0);
    }
  }
  /// Row `product` of the positions of what was read.
  void row(std::int64_t product) {
    input_.row(form_.input_row, count_, product);
    gradient_.row(form_.gradient_row, count_, product);
  }

  /// What `count` tile rows from `next` on will be read from: x, dy, and y.
  std::array<Prefetch, 3> prefetch(std::int64_t next, std::int64_t count) const {
    const std::int64_t at = dy_.offset(next), floats = dy_.offset(next + count) - at;
    return {reader_.prefetch(next, count), soon(run_.dy, at, floats), soon(run_.y, at, floats)};
  }

 private:
  const Kernels& kernels_;
  const WinogradKernels& form_;
  const TileRows rows_;
  const WeightsRun& run_;
  OutputRows dy_;
  const float* zeros_;
  TileReader reader_;
  Columns input_, gradient_;
  std::int64_t count_ = 0;
};

// Of the transformed tiles that are kept.
constexpr std::int64_t kPanelBytes = 32 << 20;

/// The transformed tiles of many images in panels, [part of the channels][row of positions][plane][tile][channel].
class TilePanels {
 public:
  TilePanels(Backend& backend, std::int64_t products, std::int64_t planes, std::int64_t tiles, std::int64_t channels,
             std::int64_t part_channels)
      : products_(products),
        planes_(planes),
        tiles_(tiles),
        channels_(channels),
        part_channels_(part_channels),
        parts_((channels + part_channels - 1) / part_channels),
        panels_(backend, {parts_ * products * planes * tiles, part_channels}) {}

  std::int64_t plane() const { return tiles_ * part_channels_; }
  float* at(std::int64_t part, std::int64_t product) const {
    return panels_.data<float>() + (part * products_ + product) * planes_ * plane();
  }
  /// A row of positions of `count` tiles, as tiles `first` and following. Channels that don't exist are zero.
  void put(const Columns& from, std::int64_t product, std::int64_t first, std::int64_t count) const {
    for (std::int64_t part = 0; part < parts_; ++part) {
      const std::int64_t channel = part * part_channels_, channels = std::min(part_channels_, channels_ - channel);
      for (std::int64_t number = 0; number < planes_; ++number) {
        copy_rows(from.v + number * from.plane + channel, from.tile, count, channels,
                  at(part, product) + number * plane() + first * part_channels_, part_channels_);
      }
    }
  }

 private:
  std::int64_t products_, planes_, tiles_, channels_, part_channels_, parts_;
  Tensor panels_;
};

/// The parts of a large filter, summed over all tiles of a round.
class TransformedParts {
 public:
  TransformedParts(Backend& backend, const Kernels& kernels, const WeightsPlan& plan, const WeightsRun& run)
      : kernels_(kernels),
        form_(kernels.winograd(plan.choice.form)),
        plan_(plan),
        run_(run),
        part_channels_(plan.part_blocks * plan.block_channels),
        room_(std::clamp<std::int64_t>(kPanelBytes / (4 * form_.products * plan.tiles.block_tiles() *
                                                      (form_.input_planes.count * run.shape.channels +
                                                       form_.gradient_planes.count * plan.stored_channels)),
                                       1, plan.units(run.shape.images))),
        v_(backend, form_.products, form_.input_planes.count, room_ * plan.tiles.block_tiles(), run.shape.channels,
           plan.part_taps),
        w_(backend, form_.products, form_.gradient_planes.count, room_ * plan.tiles.block_tiles(),
           run.shape.out_channels, part_channels_) {}

  std::int64_t room() const { return room_; }

  void lay_out(std::int64_t unit, std::int64_t place, double* bias) const {
    GradientTiles tiles(kernels_, plan_, run_);
    const std::int64_t rows = rows_of(unit, 1), count = rows * plan_.tiles.tile_columns;
    tiles.read(unit * plan_.tiles.block_rows, rows, bias);
    for (std::int64_t product = 0; product < form_.products; ++product) {
      tiles.row(product);
      v_.put(tiles.input(), product, place * plan_.tiles.block_tiles(), count);
      w_.put(tiles.gradient(), product, place * plan_.tiles.block_tiles(), count);
    }
  }

  void sum(std::int64_t part, std::int64_t first_unit, std::int64_t units, float* filter) const {
    const std::int64_t input_part = part / plan_.channel_parts(), output_part = part % plan_.channel_parts();
    const std::int64_t first = input_part * plan_.part_taps, all = run_.shape.channels,
                       channels = std::min(plan_.part_taps, all - first);
    const std::int64_t blocks = std::min(plan_.part_blocks, plan_.blocks - output_part * plan_.part_blocks);
    const std::int64_t du_plane = plan_.part_taps * part_channels_ + kPlanePadding;
    float* const du = scratch_floats(Scratch::filter, form_.products * form_.products * du_plane);
    float* const dg = scratch_floats(Scratch::products, 9 * du_plane);
    for (std::int64_t product = 0; product < form_.products; ++product) {
      form_.accumulate({.v = v_.at(input_part, product),
                        .v_plane = v_.plane(),
                        .v_tile = plan_.part_taps,
                        .w = w_.at(output_part, product),
                        .w_plane = w_.plane(),
                        .w_tile = part_channels_,
                        .tiles = rows_of(first_unit, units) * plan_.tiles.tile_columns,
                        .channels = channels,
                        .blocks = blocks,
                        .vectors = static_cast<int>(plan_.vectors),
                        .du = du + product * form_.products * du_plane,
                        .du_plane = du_plane,
                        .du_channel = part_channels_,
                        .first = true,
                        .soon = {}});
    }
    form_.filter_gradient(du, du_plane, dg, du_plane, channels * part_channels_);
    for (std::int64_t tap = 0; tap < 9; ++tap) {
      for (std::int64_t channel = 0; channel < channels; ++channel) {
        float* const to = filter + (tap * all + first + channel) * plan_.stored_channels + output_part * part_channels_;
        kernels_.add(to, dg + tap * du_plane + channel * part_channels_, to, blocks * plan_.block_channels);
      }
    }
  }

 private:
  /// Rows of tiles in blocks of them, the last of which may be cut short.
  std::int64_t rows_of(std::int64_t first_unit, std::int64_t units) const {
    return std::min(units * plan_.tiles.block_rows,
                    run_.shape.images * plan_.tiles.tile_rows - first_unit * plan_.tiles.block_rows);
  }

  const Kernels& kernels_;
  const WinogradKernels& form_;
  const WeightsPlan& plan_;
  const WeightsRun& run_;
  std::int64_t part_channels_, room_;
  TilePanels v_, w_;
};

}  // namespace

void CpuBackend::winograd_weights(const WeightsPlan& plan, const WeightsRun& run, std::int64_t begin, std::int64_t end,
                                  float* filter, double* bias) {
  const ConvolutionShape& shape = run.shape;
  const TileRows& rows = plan.tiles;
  const WinogradKernels& form = kernels_.winograd(plan.choice.form);
  GradientTiles tiles(kernels_, plan, run);
  const Columns &input = tiles.input(), &gradient = tiles.gradient();
  const std::int64_t du_plane = shape.channels * plan.stored_channels + kPlanePadding;
  float* const du = scratch_floats(Scratch::filter, form.products * form.products * du_plane);
  for (std::int64_t first = begin; first < end; first += rows.block_rows) {
    const std::int64_t count = std::min(rows.block_rows, end - first), next = first + count;
    tiles.read(first, count, bias);
    const std::array<Prefetch, 3> soon = tiles.prefetch(next, std::min(rows.block_rows, end - next));
    for (std::int64_t product = 0; product < form.products; ++product) {
      tiles.row(product);
      const auto part = [&](const Prefetch& of) { return of.part(product, form.products); };
      form.accumulate({.v = input.v,
                       .v_plane = input.plane,
                       .v_tile = input.tile,
                       .w = gradient.v,
                       .w_plane = gradient.plane,
                       .w_tile = gradient.tile,
                       .tiles = count * rows.tile_columns,
                       .channels = shape.channels,
                       .blocks = plan.blocks,
                       .vectors = static_cast<int>(plan.vectors),
                       .du = du + product * form.products * du_plane,
                       .du_plane = du_plane,
                       .du_channel = plan.stored_channels,
                       .first = first == begin,
                       .soon = {part(soon[0]), part(soon[1]), part(soon[2])}});
    }
  }
  const std::int64_t floats = shape.channels * plan.stored_channels;
  form.filter_gradient(du, du_plane, filter, floats, floats);
}

void CpuBackend::winograd_weights_in_parts(const WeightsPlan& plan, const WeightsRun& run, float* filter,
                                           PartialSums& bias) {
  sum_in_parts(pool_, plan, run.shape.images, TransformedParts(*this, kernels_, plan, run), filter, bias);
}

}  // namespace stagewise::cpu
