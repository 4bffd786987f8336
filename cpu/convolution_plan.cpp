#include "cpu/convolution_plan.h"

#include <algorithm>
#include <cmath>

namespace stagewise::cpu {
namespace {

// Output pixels that one call of the kernel covers: enough to use full tiles and reuse the weights, few enough that
// what they read and write is still in L1 for the epilogue.
constexpr std::int64_t kGroupPixels = 64;
// Of them, at most so many in a group that is computed whole (Kernels::group).
constexpr std::int64_t kMostGroup = 4;
// Output pixels of a work item: a CIFAR image; larger images are cut, so that one image feeds many threads.
constexpr std::int64_t kStripPixels = 1024;
// A sweep's rows of x and dy are to stay in L1, the chunks' filters together in the last-level cache.
constexpr std::int64_t kSweepBytes = 24 << 10, kPartialBytes = 1 << 20;
// Channels that a filter's packing reads at a time: a cache line of floats.
constexpr std::int64_t kPackedAtOnce = 16;
// Of a large filter's gradient, a part: it is to stay in L2.
constexpr std::int64_t kGradientTaps = 64, kGradientChannels = 256;
// And of one that is transformed, which is 36 values a tap of 9.
constexpr std::int64_t kTransformedChannels = 32, kTransformedOutputs = 64;
// Tiles of a block: enough for the product's registers and to reuse the filter, few enough for L2.
constexpr std::int64_t kBlockTiles = 16;
// And of a work item, which are a CIFAR image's.
constexpr std::int64_t kStripTiles = 64;
// A transformed filter that no cache holds, how many tiles then go by while it passes through, and how many of its
// channels make a work item: few enough to go round, enough that transforming the tiles for each costs little.
constexpr std::int64_t kLargeFilterBytes = 4 << 20, kLargeBlockTiles = 32, kPartChannels = 128;
// One that comes from memory each time, and the multiply-adds in the time that one of its floats takes.
constexpr double kStreamedBytes = 16 << 20, kStreamCost = 16;
// What Winograd's transforms take a value that they store, on its way through both of their passes and through memory,
// in multiply-adds of the product.
constexpr double kTransformCost = 2.65;

/// A convolution as one direction sees it: what it reads and what it writes. By weights goes by the forward pass.
struct Direction {
  bool by_data;
  std::int64_t in_channels, out_channels, out_height, out_width;
  double pairs;  // of a channel read and one written; vectors run along the latter, so those come in whole vectors

  Direction(const ConvolutionShape& shape, bool by_data_, std::int64_t lanes)
      : by_data(by_data_),
        in_channels(by_data ? shape.out_channels : shape.channels),
        out_channels(by_data ? shape.channels : shape.out_channels),
        out_height(by_data ? shape.height : shape.out_height),
        out_width(by_data ? shape.width : shape.out_width),
        pairs(static_cast<double>(in_channels * round_up(out_channels, lanes))) {}
};

/// What a filter of so many floats makes of a multiply-add when it passes by once for so many pixels or tiles.
double streamed(double floats, std::int64_t at_once) {
  return 4 * floats < kStreamedBytes ? 1 : 1 + kStreamCost / static_cast<double>(at_once);
}

/// Multiply-adds an image.
double direct_steps(const ConvolutionShape& shape, const Direction& direction) {
  // By data, only every stride-th row and column of taps reaches a pixel.
  const std::int64_t grids = direction.by_data ? shape.options.stride * shape.options.stride : 1;
  const auto pixels = static_cast<double>(direction.out_height * direction.out_width) / static_cast<double>(grids);
  const double filter = direction.pairs * static_cast<double>(shape.filter_height * shape.filter_width);
  return pixels * filter * streamed(filter, kGroupPixels);
}

/// The same with the transforms, which take their time by what they store for a tile and a channel.
double winograd_steps(const WinogradKernels& form, const Direction& direction, std::int64_t lanes) {
  const int planes = form.input_planes.count, products = form.products, outputs = form.outputs;
  const std::int64_t stored =
      planes * (form.input_step + planes) * round_up(direction.in_channels, lanes) +
      (products * (products + outputs) + outputs * outputs) * round_up(direction.out_channels, lanes);
  const double filter = products * products * direction.pairs;
  const auto tiles = [outputs](std::int64_t size) { return (size + outputs - 1) / outputs; };
  return static_cast<double>(tiles(direction.out_height) * tiles(direction.out_width)) *
         (filter * streamed(filter, kLargeBlockTiles) + kTransformCost * static_cast<double>(stored));
}

/// Why no form fits; empty where one does.
std::string why_not_winograd(const ConvolutionShape& shape) {
  const std::int64_t stride = shape.options.stride, most_padding = stride == 1 ? 2 : 1;
  if (shape.filter_height != 3 || shape.filter_width != 3) return "Winograd is for filters of 3x3";
  if (stride > 2) return "Winograd is for strides of 1 and 2";
  if (shape.options.padding_before <= most_padding) return "";
  return concat("Winograd is for padding up to ", most_padding, " at stride ", stride);
}

WinogradForm form_for(const Conv2dOptions& options, bool by_data) {
  if (options.stride == 1) return WinogradForm::stride1;
  if (!by_data) return WinogradForm::stride2;
  return options.padding_before == 0 ? WinogradForm::stride2_data0 : WinogradForm::stride2_data1;
}

AlgorithmChoice choose(const ConvolutionShape& shape, const Kernels& kernels, bool by_data, bool strict) {
  const Direction direction(shape, by_data, kernels.lanes);
  AlgorithmChoice choice;
  choice.reason = why_not_winograd(shape);
  if (!choice.reason.empty()) return choice;
  choice.form = form_for(shape.options, by_data);
  const double share =
      winograd_steps(kernels.winograd(choice.form), direction, kernels.lanes) / direct_steps(shape, direction);
  const std::string steps = concat(std::lround(100 * share), "% of the direct steps");
  if (strict) {
    choice.reason = "--strict-convolution";
  } else if (share < 1) {
    choice.algorithm = Algorithm::winograd;
    choice.reason = steps;
  } else {
    choice.reason = "Winograd would take " + steps + " with its transforms";
  }
  return choice;
}

/// Blocks of about `block_tiles` tiles; items of whole blocks and about kStripTiles tiles, and at least `least_items` of
/// them where there are rows enough.
TileRows tile_rows(std::int64_t images, std::int64_t height, std::int64_t width, std::int64_t outputs,
                   std::int64_t block_tiles = kBlockTiles, std::int64_t least_items = kManyImages) {
  TileRows rows{(height + outputs - 1) / outputs, (width + outputs - 1) / outputs};
  rows.block_rows = std::max<std::int64_t>(block_tiles / rows.tile_columns, 1);
  const std::int64_t most = std::max<std::int64_t>(images * rows.tile_rows / least_items, 1);
  rows.block_rows = std::min(rows.block_rows, most);
  rows.item_rows = rows.block_rows;
  if (rows.tile_rows > rows.block_rows) {
    rows.item_rows = std::clamp<std::int64_t>(kStripTiles / rows.block_tiles(), 1,
                                              (rows.tile_rows + rows.block_rows - 1) / rows.block_rows);
    rows.item_rows = std::min(rows.item_rows, std::max<std::int64_t>(most / rows.block_rows, 1)) * rows.block_rows;
  }
  return rows;
}

/// The step between the pixels that a convolution reads, where it reads no others.
std::int64_t stage_step(const ConvolutionShape& shape) {
  const bool point = shape.filter_height == 1 && shape.filter_width == 1;
  return point && shape.options.padding_before == 0 && shape.options.padding_after == 0 ? shape.options.stride : 1;
}

/// A filter of 1x1 that reads every pixel doesn't see where rows end: some of them as one, where a smaller share of the
/// groups of pixels then ends in the middle.
ConvolutionShape with_long_rows(ConvolutionShape shape) {
  const Conv2dOptions& options = shape.options;
  if (shape.filter_height * shape.filter_width > 1 || options.stride > 1) return shape;
  if (options.padding_before + options.padding_after > 0) return shape;
  std::int64_t best = 1;
  for (std::int64_t rows = 2; rows <= shape.height && rows * shape.width <= kGroupPixels; ++rows) {
    const auto computed = [&](std::int64_t of) { return round_up(of * shape.width, kMostGroup); };
    if (shape.height % rows == 0 && computed(rows) * best < computed(best) * rows) best = rows;
  }
  shape.height /= best, shape.out_height /= best;
  shape.width *= best, shape.out_width *= best;
  return shape;
}

/// The part's pixels in the first grid rows that are computed together.
void list_groups(const ConvolutionPlan& plan, SubConvolution& part, std::int64_t group) {
  part.row_groups = (part.columns + group - 1) / group;
  for (std::int64_t row = 0; row < plan.group_rows; ++row) {
    const std::int64_t staged_row = row * plan.input_stride, out_row = part.row_offset + row * plan.output_step;
    for (std::int64_t column = 0; column < part.columns; column += group) {
      const std::int64_t out_column = part.column_offset + column * plan.output_step;
      part.groups.push_back({(staged_row * plan.padded_width + column * plan.input_stride) * plan.in_channels,
                             (out_row * plan.out_width + out_column) * plan.out_channels,
                             std::min(group, part.columns - column), staged_row});
    }
  }
}

/// Fills in what follows from the choice and the parts: padding to the right, blocking, offsets.
void finish(ConvolutionPlan& plan, const ConvolutionShape& shape, const Kernels& kernels) {
  plan.vectors = plan.out_channels > kernels.lanes ? 2 : 1;
  const std::int64_t block_channels = static_cast<std::int64_t>(plan.vectors) * kernels.lanes;
  plan.blocks = plan.part_blocks = (plan.out_channels + block_channels - 1) / block_channels;
  std::int64_t columns = 1;
  if (plan.choice.algorithm == Algorithm::winograd) {
    // By data: how far before dx's first pixel the turned filter begins.
    const std::int64_t before = 2 / shape.options.stride - shape.options.padding_before;
    plan.top = plan.left = plan.by_data ? before : shape.options.padding_before;
    const WinogradKernels& form = kernels.winograd(plan.choice.form);
    const bool large =
        4 * form.products * form.products * plan.in_channels * plan.blocks * block_channels >= kLargeFilterBytes;
    plan.tiles = large ? tile_rows(shape.images, plan.out_height, plan.out_width, form.outputs, kLargeBlockTiles, 1)
                       : tile_rows(shape.images, plan.out_height, plan.out_width, form.outputs);
    if (large) plan.part_blocks = std::max<std::int64_t>(kPartChannels / block_channels, 1);
  }
  plan.padded_width = plan.left + (plan.in_width + plan.stage_step - 1) / plan.stage_step;
  for (const SubConvolution& part : plan.parts) {
    columns = std::max(columns, part.columns);
    for (const FilterRow& row : part.filter_rows) {
      // Groups are computed whole; the pixels past a row's end read zeros and are not stored.
      const std::int64_t last = round_up(part.columns, kernels.group[plan.vectors]) - 1;
      plan.padded_width = std::max(plan.padded_width, last * plan.input_stride + row.staged_column + row.columns);
      plan.tap_reach = std::max(plan.tap_reach, row.staged_row);
    }
  }
  if (plan.choice.algorithm == Algorithm::winograd) {
    plan.padded_width = kernels.winograd(plan.choice.form).input_size(plan.tiles.tile_columns);
  }
  for (SubConvolution& part : plan.parts) {
    for (const FilterRow& row : part.filter_rows) {
      part.tap_rows.push_back({(row.staged_row * plan.padded_width + row.staged_column) * plan.in_channels,
                               row.columns * plan.in_channels, row.staged_row});
      part.taps += row.columns * plan.in_channels;
    }
    part.packed_offset = plan.packed_floats;
    plan.packed_floats += plan.blocks * part.taps * block_channels;
  }
  plan.group_rows = std::clamp<std::int64_t>(kGroupPixels / columns, 1, plan.grid_rows());
  if (plan.choice.algorithm == Algorithm::direct) {
    for (SubConvolution& part : plan.parts) list_groups(plan, part, kernels.group[plan.vectors]);
  }
  const std::int64_t most = std::min(kStripPixels / columns, shape.images * plan.grid_rows() / kManyImages);
  plan.strip_rows = std::clamp<std::int64_t>(round_up(most, plan.group_rows), plan.group_rows, plan.grid_rows());
  plan.strips = (plan.grid_rows() + plan.strip_rows - 1) / plan.strip_rows;
}

}  // namespace

ConvolutionShape convolution_shape(const Tensor& x, const Tensor& weight, const Tensor& y,
                                   const Conv2dOptions& options) {
  return {x.shape()[0], x.shape()[1], x.shape()[2],      x.shape()[3],      y.shape()[1],
          y.shape()[2], y.shape()[3], weight.shape()[1], weight.shape()[2], options};
}

std::int64_t ConvolutionPlan::items(std::int64_t images) const {
  if (choice.algorithm == Algorithm::direct) return images * strips;
  return (images * tiles.tile_rows + tiles.item_rows - 1) / tiles.item_rows;
}

std::int64_t WeightsPlan::units(std::int64_t images) const {
  const bool direct = choice.algorithm == Algorithm::direct;
  if (in_parts) return direct ? images : (images * tiles.tile_rows + tiles.block_rows - 1) / tiles.block_rows;
  return images * (direct ? strips : tiles.tile_rows);
}

std::int64_t WeightsPlan::chunks(std::int64_t images) const {
  if (in_parts) return 1;
  return std::min(units(images), std::clamp<std::int64_t>(kPartialBytes / (4 * filter_floats), 16, 64));
}

ConvolutionPlan plan_forward(const ConvolutionShape& given, const Kernels& kernels, bool strict) {
  const ConvolutionShape shape = with_long_rows(given);
  ConvolutionPlan plan;
  plan.choice = choose(shape, kernels, /*by_data=*/false, strict);
  plan.in_height = shape.height, plan.in_width = shape.width, plan.in_channels = shape.channels;
  plan.out_height = shape.out_height, plan.out_width = shape.out_width, plan.out_channels = shape.out_channels;
  plan.stage_step = stage_step(shape);
  plan.input_stride = shape.options.stride / plan.stage_step;
  plan.top = plan.left = shape.options.padding_before;
  SubConvolution all{0, 0, shape.out_height, shape.out_width, {}, {}};
  for (std::int64_t row = 0; row < shape.filter_height; ++row) {
    all.filter_rows.push_back({row, 0, row, 0, shape.filter_width, 1});
  }
  plan.parts.push_back(std::move(all));
  finish(plan, shape, kernels);
  return plan;
}

namespace {

// dx[h] = sum over r of dy[(h + before - r) / s] w[r], over the r that divide. For h = offset + i s the staged row is
// i + (offset + before - r) / s + top; along columns the same, and falling filter columns give rising staged ones.
void list_grids(ConvolutionPlan& plan, const ConvolutionShape& shape) {
  const std::int64_t step = shape.options.stride, before = shape.options.padding_before;
  const auto grid = [step](std::int64_t size, std::int64_t offset) { return (size - offset + step - 1) / step; };
  for (std::int64_t row_offset = 0; row_offset < std::min(step, shape.height); ++row_offset) {
    for (std::int64_t column_offset = 0; column_offset < std::min(step, shape.width); ++column_offset) {
      SubConvolution part{
          row_offset, column_offset, grid(shape.height, row_offset), grid(shape.width, column_offset), {}, {}};
      const std::int64_t first_column = (column_offset + before) % step;
      const std::int64_t first_row = (row_offset + before) % step;
      if (first_row >= shape.filter_height || first_column >= shape.filter_width) {
        plan.parts.push_back(std::move(part));
        continue;
      }
      for (std::int64_t row = first_row + (shape.filter_height - 1 - first_row) / step * step; row >= 0; row -= step) {
        const std::int64_t columns = (shape.filter_width - first_column + step - 1) / step;
        const std::int64_t last_column = first_column + (columns - 1) * step;
        part.filter_rows.push_back({(row_offset + before - row) / step + plan.top,
                                    (column_offset + before - last_column) / step + plan.left, row, last_column,
                                    columns, -step});
      }
      plan.parts.push_back(std::move(part));
    }
  }
}

/// The whole filter, turned, for its transform.
SubConvolution turned(const ConvolutionShape& shape) {
  SubConvolution all{0, 0, shape.height, shape.width, {}, {}};
  for (std::int64_t row = shape.filter_height - 1; row >= 0; --row) {
    all.filter_rows.push_back({0, 0, row, shape.filter_width - 1, shape.filter_width, -1});
  }
  return all;
}

/// Columns of `rows` floats as rows, and zeros behind them up to `to_row`. A few columns at a time: what lies side by
/// side in memory is read while it is in the cache.
void transpose(const float* from, std::int64_t from_row, std::int64_t rows, std::int64_t columns, float* to,
               std::int64_t to_row) {
  for (std::int64_t first = 0; first < columns; first += kPackedAtOnce) {
    const std::int64_t end = std::min(first + kPackedAtOnce, columns);
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t column = first; column < end; ++column) {
        to[column * to_row + row] = from[row * from_row + column];
      }
    }
    for (std::int64_t column = first; column < end; ++column) {
      std::fill(to + column * to_row + rows, to + (column + 1) * to_row, 0.0f);
    }
  }
}

}  // namespace

ConvolutionPlan plan_by_data(const ConvolutionShape& given, const Kernels& kernels, bool strict) {
  const ConvolutionShape shape = with_long_rows(given);
  ConvolutionPlan plan;
  plan.choice = choose(shape, kernels, /*by_data=*/true, strict);
  plan.by_data = true;
  plan.in_height = shape.out_height, plan.in_width = shape.out_width, plan.in_channels = shape.out_channels;
  plan.out_height = shape.height, plan.out_width = shape.width, plan.out_channels = shape.channels;
  const std::int64_t step = shape.options.stride;
  plan.output_step = step;
  plan.top = (shape.filter_height - 1 + step - 1) / step;
  plan.left = (shape.filter_width - 1 + step - 1) / step;
  if (plan.choice.algorithm == Algorithm::winograd) {
    plan.parts.push_back(turned(shape));
  } else {
    list_grids(plan, shape);
  }
  finish(plan, shape, kernels);
  return plan;
}

namespace {

/// Rows of so many taps into parts of at most `taps` and about `channels`.
void cut(WeightsPlan& plan, std::int64_t taps, std::int64_t channels, std::int64_t rows, std::int64_t row_taps) {
  plan.part_taps = std::min(taps, row_taps);
  plan.part_blocks = std::max<std::int64_t>(channels / plan.block_channels, 1);
  plan.tap_parts = rows * ((row_taps + plan.part_taps - 1) / plan.part_taps);
}

}  // namespace

WeightsPlan plan_weights(const ConvolutionShape& shape, const Kernels& kernels, bool strict) {
  WeightsPlan plan;
  plan.choice = choose(shape, kernels, /*by_data=*/false, strict);
  plan.vectors = shape.out_channels > kernels.lanes ? 2 : 1;
  plan.block_channels = plan.vectors * kernels.lanes;
  plan.blocks = (shape.out_channels + plan.block_channels - 1) / plan.block_channels;
  plan.stored_channels = plan.blocks * plan.block_channels;
  plan.taps = shape.filter_height * shape.filter_width * shape.channels;
  plan.filter_floats = plan.taps * plan.stored_channels;
  plan.stage_step = stage_step(shape);
  plan.stride = shape.options.stride / plan.stage_step;
  plan.padded_width = std::max((shape.width + plan.stage_step - 1) / plan.stage_step + shape.options.padding_before,
                               (shape.out_width - 1) * plan.stride + shape.filter_width);
  // Not even one of them would stay in the cache.
  plan.in_parts = 4 * plan.filter_floats >= kPartialBytes;
  if (plan.choice.algorithm == Algorithm::winograd) {
    plan.tiles = tile_rows(kManyImages * kBlockTiles, shape.out_height, shape.out_width,
                           kernels.winograd(plan.choice.form).outputs);
    cut(plan, kTransformedChannels, kTransformedOutputs, 1, shape.channels);
    return plan;
  }
  cut(plan, kGradientTaps, kGradientChannels, shape.filter_height, plan.taps / shape.filter_height);
  if (plan.in_parts) return plan;
  const std::int64_t row_bytes =
      4 * (plan.padded_width * shape.channels * plan.stride + shape.out_width * plan.stored_channels);
  plan.sweep_rows = std::clamp<std::int64_t>(kSweepBytes / row_bytes, 1, shape.out_height);
  plan.strip_rows =
      std::min(shape.out_height, (std::max<std::int64_t>(1024 / shape.out_width, 1) + plan.sweep_rows - 1) /
                                     plan.sweep_rows * plan.sweep_rows);
  plan.strips = (shape.out_height + plan.strip_rows - 1) / plan.strip_rows;
  return plan;
}

void pack_weights(const ConvolutionPlan& plan, const SubConvolution& part, std::int64_t block, int lanes,
                  const ConvolutionShape& shape, const float* weight, float* packed) {
  const std::int64_t block_channels = static_cast<std::int64_t>(plan.vectors) * lanes;
  const std::int64_t first = block * block_channels;
  const std::int64_t channels = std::min(block_channels, plan.out_channels - first);
  const std::int64_t filter = shape.filter_height * shape.filter_width * shape.channels;
  packed += part.packed_offset + block * part.taps * block_channels;
  for (const FilterRow& row : part.filter_rows) {
    for (std::int64_t i = 0; i < row.columns; ++i, packed += plan.in_channels * block_channels) {
      const std::int64_t column = row.first_column + i * row.column_step;
      const float* const tap = weight + (row.row * shape.filter_width + column) * shape.channels;
      // By data the filter's output channels are read and its input channels written.
      if (plan.by_data) {
        copy_rows(tap + first, filter, plan.in_channels, channels, packed, block_channels);
      } else {
        transpose(tap + first * filter, filter, channels, plan.in_channels, packed, block_channels);
      }
    }
  }
}

}  // namespace stagewise::cpu
