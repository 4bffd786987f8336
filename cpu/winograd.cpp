// Winograd's algorithm over rows of tiles (kernels/winograd.cpp has the formula). A work item takes some rows of tiles,
// through as many images as it needs to fill a block: stage the input rows (padding, normalise and ReLU on read),
// transform, multiply block of output channels by block, transform back, and finish the rows while they are in L2.
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

// What is added to the distance between planes: off the powers of two, or they would share a few cache sets.
constexpr std::int64_t kPlanePadding = 16;

/// An image's rows under the tiles, with zeros above and below.
struct PaddedRows {
  const float* image;
  std::int64_t height, row;  // of the image: rows, and floats in one
  const float* zeros;
  const float* operator[](std::int64_t y) const { return y < 0 || y >= height ? zeros : image + y * row; }
};

const float* zero_floats(std::int64_t floats) {
  float* const data = scratch_floats(Scratch::zeros, floats);
  std::fill_n(data, floats, 0.0f);
  return data;
}

/// Rows of tiles transformed down their columns; `row` then makes one row of positions of all of them.
struct Columns {
  WinogradPlanes planes;
  std::int64_t channels, tile_columns, padded_floats, columns_row;
  float* data;
  std::int64_t tile, plane;  // of v
  float* v;

  Columns(Scratch columns, Scratch row, const WinogradPlanes& planes_, const TileRows& rows, std::int64_t width,
          std::int64_t channels_, int lanes)
      : planes(planes_),
        channels(channels_),
        tile_columns(rows.tile_columns),
        padded_floats(width * channels),
        columns_row(round_up(padded_floats, lanes) + lanes),
        data(scratch_floats(columns, rows.block_rows * planes.count * columns_row)),
        tile(round_up(channels, lanes)),
        plane(rows.block_tiles() * tile + kPlanePadding),
        v(scratch_floats(row, planes.count * plane)) {}

  /// From image rows `first` on, whose first pixel is pixel `left` of the columns.
  void transform(void (*kernel)(const WinogradColumns&), std::int64_t tile_row, const PaddedRows& rows,
                 std::int64_t first, std::int64_t left) {
    const std::int64_t before = left * channels;
    kernel({{rows[first], rows[first + 1], rows[first + 2], rows[first + 3], rows[first + 4], rows[first + 5]},
            std::min(rows.row, padded_floats - before),
            before,
            padded_floats,
            data + tile_row * planes.count * columns_row,
            columns_row});
  }
  /// For the products' row `product`; one that has the plane of the row before finds it in place.
  void row(void (*kernel)(const WinogradRow&), std::int64_t tile_rows, std::int64_t product) {
    const int of_row = planes.of_product[product];
    if (product > 0 && planes.of_product[product - 1] == of_row) return;
    for (std::int64_t tile_row = 0; tile_row < tile_rows; ++tile_row) {
      kernel({data + (tile_row * planes.count + of_row) * columns_row, tile_columns, channels,
              v + tile_row * tile_columns * tile, plane, tile});
    }
  }
};

/// Reads the image rows under one row of tiles after the other. Where they must be widened or normalised, that is done
/// once for each row, in a buffer.
class TileReader {
 public:
  TileReader(const Kernels& kernels, const WinogradKernels& form, const TileRows& rows, const FeatureMap& images,
             std::int64_t height, std::int64_t width, std::int64_t channels, std::int64_t top,
             const ChannelCoefficients* normalise, const float* zeros)
      : kernels_(kernels),
        form_(form),
        rows_(rows),
        images_(images),
        height_(height),
        width_(width),
        channels_(channels),
        top_(top),
        normalise_(normalise),
        zeros_(zeros),
        staged_(buffered() ? scratch_floats(Scratch::staged, height * width * channels) : nullptr) {}

  void read(std::int64_t row, Columns& columns, std::int64_t tile_row, std::int64_t left) {
    const std::int64_t image = row / rows_.tile_rows, first = row % rows_.tile_rows * form_.input_step - top_;
    const std::int64_t floats = width_ * channels_;
    if (buffered()) {
      if (image != image_) image_ = image, staged_rows_ = std::max<std::int64_t>(first, 0);
      stage(image * height_ * floats, std::min(first + form_.inputs, height_));
    }
    const float* const rows = buffered() ? staged_ : images_.wide() + image * height_ * floats;
    columns.transform(form_.input_columns, tile_row, {rows, height_, floats, zeros_}, first, left);
  }

  /// The image rows that lie under `count` rows of tiles and not under the ones before.
  Prefetch prefetch(std::int64_t row, std::int64_t count) const {
    const auto at = [&](std::int64_t tile_row) {
      const std::int64_t number = tile_row % rows_.tile_rows, shared = form_.inputs - form_.input_step;
      const std::int64_t first = number == 0 ? 0 : std::min(number * form_.input_step + shared - top_, height_);
      return (tile_row / rows_.tile_rows * height_ + first) * width_ * channels_;
    };
    return soon(images_, at(row), at(row + count) - at(row));
  }

 private:
  bool buffered() const { return normalise_ != nullptr || images_.narrow(); }
  /// The rows of the image at element `image` from the last staged one to `until`.
  void stage(std::int64_t image, std::int64_t until) {
    if (until <= staged_rows_) return;
    const std::int64_t floats = width_ * channels_, at = staged_rows_ * floats;
    kernels_.stage_rows({images_.elements(image), height_, width_, channels_, staged_rows_, until - staged_rows_, 0, 0,
                         width_, normalise_, staged_ + at});
    staged_rows_ = until;
  }

  const Kernels& kernels_;
  const WinogradKernels& form_;
  const TileRows rows_;
  FeatureMap images_;
  std::int64_t height_, width_, channels_, top_;
  const ChannelCoefficients* normalise_;
  const float* zeros_;
  float* staged_;  // the image that was read last
  std::int64_t image_ = -1, staged_rows_ = 0;
};

/// The output's rows of pixels that one row of tiles gives.
struct OutputRows {
  std::int64_t tile_rows, outputs, out_height, row_pixels, channels;

  OutputRows(const ConvolutionPlan& plan, const WinogradKernels& form)
      : tile_rows(plan.tiles.tile_rows),
        outputs(form.outputs),
        out_height(plan.out_height),
        row_pixels(plan.out_width),
        channels(plan.out_channels) {}

  std::int64_t offset(std::int64_t row) const {
    return (row / tile_rows * out_height + row % tile_rows * outputs) * row_pixels * channels;
  }
  std::int64_t height(std::int64_t row) const { return std::min(outputs, out_height - row % tile_rows * outputs); }
  std::int64_t pixels(std::int64_t row) const { return height(row) * row_pixels; }
  std::int64_t floats(std::int64_t row) const { return pixels(row) * channels; }
};

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
        output_(plan, form_),
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
                      .y_row = plan_.out_width * plan_.out_channels,
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
  const OutputRows output(plan, kernels_.winograd(plan.choice.form));
  pool_.sweep(items, [&](std::int64_t item) {
    for (std::int64_t row = item * rows.item_rows; row < last_row(item); ++row) {
      const std::int64_t at = output.offset(row), floats = output.floats(row);
      float* const values = to.output.wide() + at;
      run.epilogue(kernels_, item, values, at, output.pixels(row), plan.out_channels);
      run.output.written(kernels_, values, at, floats);
    }
  });
}

void CpuBackend::winograd_weights(const WeightsPlan& plan, const WeightsRun& run, std::int64_t begin, std::int64_t end,
                                  float* filter, double* bias) {
  const ConvolutionShape& shape = run.shape;
  const TileRows& rows = plan.tiles;
  const WinogradKernels& form = kernels_.winograd(plan.choice.form);
  const std::int64_t channels = shape.out_channels;
  const std::int64_t padding = shape.options.padding_before, dy_row = shape.out_width * channels;
  const float* const zeros = zero_floats(std::max(dy_row, shape.width * shape.channels));
  TileReader reader(kernels_, form, rows, run.x, shape.height, shape.width, shape.channels, padding, run.normalise,
                    zeros);
  Columns input(Scratch::input_columns, Scratch::input, form.input_planes, rows, form.input_size(rows.tile_columns),
                shape.channels, kernels_.lanes);
  Columns gradient(Scratch::gradient_columns, Scratch::gradient, form.gradient_planes, rows,
                   rows.tile_columns * form.outputs, channels, kernels_.lanes);
  const std::int64_t du_plane = shape.channels * plan.stored_channels + kPlanePadding;
  float* const du = scratch_floats(Scratch::filter, form.products * form.products * du_plane);
  for (std::int64_t first = begin; first < end; first += rows.block_rows) {
    const std::int64_t count = std::min(rows.block_rows, end - first);
    for (std::int64_t row = 0; row < count; ++row) {
      reader.read(first + row, input, row, padding);
      const std::int64_t y = (first + row) % rows.tile_rows * form.outputs;
      const std::int64_t height = std::min<std::int64_t>(form.outputs, shape.out_height - y);
      const std::int64_t pixel = ((first + row) / rows.tile_rows * shape.out_height + y) * shape.out_width;
      const float* const dy = run.read_dy(kernels_, pixel, height * shape.out_width, bias);
      gradient.transform(form.gradient_columns, row, {dy, height, dy_row, zeros}, 0, 0);
    }
    const std::int64_t next = first + count, next_count = std::min(rows.block_rows, end - next);
    const auto dy_row_of = [&](std::int64_t row) {
      return (row / rows.tile_rows * shape.out_height + row % rows.tile_rows * form.outputs) * dy_row;
    };
    const std::int64_t dy_at = dy_row_of(next), dy_floats = dy_row_of(next + next_count) - dy_at;
    const Prefetch x = reader.prefetch(next, next_count), dz = soon(run.dy, dy_at, dy_floats),
                   y = soon(run.y, dy_at, dy_floats);
    for (std::int64_t product = 0; product < form.products; ++product) {
      input.row(form.input_row, count, product);
      gradient.row(form.gradient_row, count, product);
      form.accumulate(
          {input.v,
           input.plane,
           input.tile,
           gradient.v,
           gradient.plane,
           gradient.tile,
           count * rows.tile_columns,
           shape.channels,
           plan.blocks,
           static_cast<int>(plan.vectors),
           du + product * form.products * du_plane,
           du_plane,
           plan.stored_channels,
           first == begin,
           {x.part(product, form.products), dz.part(product, form.products), y.part(product, form.products)}});
    }
  }
  const std::int64_t floats = shape.channels * plan.stored_channels;
  form.filter_gradient(du, du_plane, filter, floats, floats);
}

}  // namespace stagewise::cpu
