// What Winograd's passes share: image rows under rows of tiles, read and transformed down their columns.
#pragma once

#include <algorithm>

#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {

// What is added to the distance between planes: off the powers of two, or they would share a few cache sets.
inline constexpr std::int64_t kPlanePadding = 16;

/// An image's rows under the tiles, with zeros above and below.
struct PaddedRows {
  const float* image;
  std::int64_t height, row;  // of the image: rows, and floats in one
  const float* zeros;
  const float* operator[](std::int64_t y) const { return y < 0 || y >= height ? zeros : image + y * row; }
};

inline const float* zero_floats(std::int64_t floats) {
  float* const data = scratch_floats(Scratch::zeros, floats);
  std::fill_n(data, floats, 0.0f);
  return data;
}

/// The rows of pixels of y, or of dy, that belong to one row of tiles, counted through the images.
struct OutputRows {
  std::int64_t tile_rows, outputs, image_height, width, channels;

  OutputRows(const TileRows& rows, const WinogradKernels& form, std::int64_t height_, std::int64_t width_,
             std::int64_t channels_)
      : tile_rows(rows.tile_rows), outputs(form.outputs), image_height(height_), width(width_), channels(channels_) {}

  std::int64_t row_floats() const { return width * channels; }
  std::int64_t offset(std::int64_t row) const {
    return (row / tile_rows * image_height + row % tile_rows * outputs) * row_floats();
  }
  std::int64_t height(std::int64_t row) const { return std::min(outputs, image_height - row % tile_rows * outputs); }
  std::int64_t pixels(std::int64_t row) const { return height(row) * width; }
  std::int64_t floats(std::int64_t row) const { return pixels(row) * channels; }
};

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

}  // namespace stagewise::cpu
