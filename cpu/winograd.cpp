// Winograd's algorithm over rows of tiles (kernels/winograd.cpp has the formula). A work item takes some rows of tiles,
// through as many images as it needs to fill a block: stage the input rows (padding, normalise and ReLU on read),
// transform, multiply block of output channels by block, transform back, and finish the rows while they are in L2.
#include "cpu/winograd_tiles.h"

namespace stagewise::cpu {
namespace {

/// One work item of a convolution: its blocks of tile rows and of output channels, from the input to rows of the output,
/// which are finished where they have all of their channels.
class ConvolutionItem {
 public:
  ConvolutionItem(const Kernels& kernels, const ConvolutionPlan& plan, const ConvolutionRun& run, std::int64_t part)
      : kernels_(kernels),
        form_(kernels.winograd(plan.choice.form)),
        plan_(plan),
        run_(run),
        first_block_(part * plan.part_blocks),
        blocks_(std::min(plan.part_blocks, plan.blocks - first_block_)),
        block_channels_(static_cast<std::int64_t>(plan.vectors) * kernels.lanes),
        half_plane_(plan.tiles.block_tiles() * block_channels_),
        output_(plan.tiles, form_, plan.out_height, plan.out_width, plan.out_channels),
        reader_(kernels, form_, plan.tiles, run.input, plan.in_height, plan.in_width, plan.in_channels, plan.top,
                run.normalise, zero_floats(plan.in_width * plan.in_channels)),
        input_(Scratch::input_columns, Scratch::input, form_.input_planes, plan.tiles, plan.padded_width,
               plan.in_channels, kernels.lanes),
        products_(scratch_floats(Scratch::products, form_.products * half_plane_)),
        halves_(scratch_floats(Scratch::halves, blocks_ * half_block())) {}

  /// Tile rows [first, first + count). Meanwhile the tile rows [next, next + next_count) are fetched.
  void multiply(std::int64_t first, std::int64_t count, std::int64_t next, std::int64_t next_count) {
    for (std::int64_t row = 0; row < count; ++row) reader_.read(first + row, input_, row, plan_.left);
    const std::int64_t last = first + count - 1, parts = form_.products * blocks_;
    const std::int64_t u_plane = plan_.in_channels * block_channels_;
    const std::int64_t at = output_.offset(first), floats = output_.offset(last) + output_.floats(last) - at;
    const Prefetch input = reader_.prefetch(next, next_count), output = soon(run_.output, at, floats);
    const Prefetch x = soon(run_.epilogue.x, at, floats), addend = soon(run_.addend, at, floats);
    const Prefetch relu_output = soon(run_.epilogue.relu_output, at, floats);
    const std::int64_t half_row = form_.outputs * tiles(count) * block_channels_;
    for (std::int64_t row = 0; row < form_.products; ++row) {
      input_.row(form_.input_row, count, row);
      for (std::int64_t block = 0; block < blocks_; ++block) {
        const std::int64_t part = row * blocks_ + block;
        form_.multiply({.v = input_.v,
                        .v_plane = input_.plane,
                        .v_tile = input_.tile,
                        .tiles = tiles(count),
                        .channels = plan_.in_channels,
                        .u = run_.filter + ((first_block_ + block) * form_.products + row) * form_.products * u_plane,
                        .vectors = plan_.vectors,
                        .m = products_,
                        .half = halves_ + block * half_block() + row * half_row,
                        .soon = {input.part(part, parts), output.part(part, parts), x.part(part, parts),
                                 addend.part(part, parts), relu_output.part(part, parts)}});
      }
    }
  }

  /// Transforms what `multiply` made back, row of tiles by row of tiles.
  void finish(std::int64_t item, std::int64_t first, std::int64_t count) {
    for (std::int64_t row = first; row < first + count; ++row) {
      const std::int64_t at = output_.offset(row), floats = output_.floats(row);
      float* const output = run_.output.target(Scratch::result, at, floats);
      const float* const addend = run_.addend.read(kernels_, Scratch::third_map, at, floats);
      for (std::int64_t block = 0; block < blocks_; ++block) {
        const std::int64_t channel = (first_block_ + block) * block_channels_;
        form_.output({.half = halves_ + block * half_block() + tiles(row - first) * block_channels_,
                      .half_plane = tiles(count) * block_channels_,
                      .tiles = plan_.tiles.tile_columns,
                      .vectors = plan_.vectors,
                      .y = output + channel,
                      .y_row = output_.row_floats(),
                      .y_pixel = plan_.out_channels,
                      .rows = output_.height(row),
                      .columns = plan_.out_width,
                      .channels = std::min(block_channels_, plan_.out_channels - channel),
                      .bias = run_.bias != nullptr ? run_.bias + channel : nullptr,
                      .has_addend = addend != nullptr,
                      .addend = addend != nullptr ? addend - output : 0});
      }
      if (blocks_ < plan_.blocks) continue;
      run_.epilogue(kernels_, item, output, at, output_.pixels(row), plan_.out_channels);
      run_.output.written(kernels_, output, at, floats);
    }
  }

 private:
  std::int64_t tiles(std::int64_t rows) const { return rows * plan_.tiles.tile_columns; }
  std::int64_t half_block() const { return form_.products * form_.outputs * half_plane_; }

  const Kernels& kernels_;
  const WinogradKernels& form_;
  const ConvolutionPlan& plan_;
  const ConvolutionRun& run_;
  std::int64_t first_block_, blocks_, block_channels_, half_plane_;
  OutputRows output_;
  TileReader reader_;
  Columns input_;
  float* products_;
  float* halves_;
};

}  // namespace

Tensor CpuBackend::transform_filter(const ConvolutionPlan& plan, const Tensor& packed) {
  const WinogradKernels& form = kernels_.winograd(plan.choice.form);
  const std::int64_t block_channels = static_cast<std::int64_t>(plan.vectors) * kernels_.lanes;
  const std::int64_t u_plane = plan.in_channels * block_channels, u_block = form.products * form.products * u_plane;
  const Tensor u(*this, {plan.blocks, u_block});
  pool_.run(plan.blocks * plan.in_channels, [&](std::int64_t item) {
    const std::int64_t block = item / plan.in_channels, at = item % plan.in_channels * block_channels;
    form.filter(packed.data<float>() + block * 9 * u_plane + at, u_plane, u.data<float>() + block * u_block + at,
                u_plane, block_channels);
  });
  return u;
}

void CpuBackend::convolve_winograd(const ConvolutionPlan& plan, const ConvolutionShape& shape,
                                   const ConvolutionRun& run) {
  const TileRows& rows = plan.tiles;
  const std::int64_t total_rows = shape.images * rows.tile_rows, items = plan.items(shape.images);
  const std::int64_t parts = plan.channel_parts();
  const auto last_row = [&](std::int64_t item) { return std::min((item + 1) * rows.item_rows, total_rows); };
  // Narrow rows can't be written channel by channel: what is folded in comes before the rounding.
  const bool widened = parts > 1 && run.output.narrow();
  const Tensor wide =
      widened ? Tensor(*this, {shape.images, plan.out_height, plan.out_width, plan.out_channels}) : Tensor();
  ConvolutionRun to = run;
  if (widened) to.output = FeatureMap(wide);
  pool_.sweep(items * parts, [&](std::int64_t number) {
    const std::int64_t work_item = number / parts, last = last_row(work_item);
    ConvolutionItem item(kernels_, plan, to, number % parts);
    for (std::int64_t first = work_item * rows.item_rows; first < last; first += rows.block_rows) {
      const std::int64_t count = std::min(rows.block_rows, last - first);
      // The rows that this thread reads next: the item's, or those of its next one.
      const std::int64_t next = first + count < last ? first + count : pool_.after(number) / parts * rows.item_rows;
      item.multiply(first, count, next, std::min(rows.block_rows, total_rows - next));
      item.finish(work_item, first, count);
    }
  });
  if (parts == 1) return;
  const OutputRows output(rows, kernels_.winograd(plan.choice.form), plan.out_height, plan.out_width,
                          plan.out_channels);
  pool_.sweep(items, [&](std::int64_t item) {
    for (std::int64_t row = item * rows.item_rows; row < last_row(item); ++row) {
      const std::int64_t at = output.offset(row), floats = output.floats(row);
      float* const values = to.output.wide() + at;
      run.epilogue(kernels_, item, values, at, output.pixels(row), plan.out_channels);
      run.output.written(kernels_, values, at, floats);
    }
  });
}

}  // namespace stagewise::cpu
