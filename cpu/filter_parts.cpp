// The gradient of a large filter by the direct algorithm (by Winograd's: winograd_weights.cpp).
#include "cpu/filter_parts.h"

namespace stagewise::cpu {
namespace {

// Of one sweep, whose x and dy are to stay in L1.
constexpr std::int64_t kSweepPixels = 128;
// Of x and dy as they are laid out.
constexpr std::int64_t kRoundBytes = 16 << 20;

/// x with its padding, [image][row][pixel][channel], and dy in panels of one block of channels, [block][pixel][channel].
class FilterParts {
 public:
  FilterParts(Backend& backend, const Kernels& kernels, const WeightsPlan& plan, const WeightsRun& run)
      : kernels_(kernels),
        plan_(plan),
        run_(run),
        row_taps_(run.shape.filter_width * run.shape.channels),
        x_row_(plan.padded_width * run.shape.channels),
        x_image_(((run.shape.out_height - 1) * plan.stride + run.shape.filter_height) * x_row_),
        pixels_(run.shape.out_height * run.shape.out_width),
        room_(std::clamp<std::int64_t>(kRoundBytes / (4 * (x_image_ + pixels_ * plan.stored_channels)), 1,
                                       run.shape.images)),
        x_(backend, {room_, x_image_}),
        dy_(backend, {plan.blocks, room_ * pixels_, plan.block_channels}) {}

  std::int64_t room() const { return room_; }

  void lay_out(std::int64_t image, std::int64_t place, double* bias) const {
    const ConvolutionShape& shape = run_.shape;
    kernels_.stage_rows({run_.x.elements(image * shape.height * shape.width * shape.channels), shape.height,
                         shape.width, shape.channels, 0, x_image_ / x_row_, shape.options.padding_before,
                         shape.options.padding_before, plan_.padded_width, run_.normalise,
                         x_.data<float>() + place * x_image_, plan_.stage_step});
    const float* const dy = run_.read_dy(kernels_, image * pixels_, pixels_, bias);
    for (std::int64_t block = 0; block < plan_.blocks; ++block) {
      const std::int64_t first = block * plan_.block_channels,
                         channels = std::min(plan_.block_channels, shape.out_channels - first);
      copy_rows(dy + first, shape.out_channels, pixels_, channels, panel(block, place * pixels_), plan_.block_channels);
    }
  }

  void sum(std::int64_t part, std::int64_t /*first*/, std::int64_t images, float* filter) const {
    const std::int64_t channel_parts = plan_.channel_parts(), row_parts = plan_.tap_parts / run_.shape.filter_height;
    const std::int64_t filter_row = part / (row_parts * channel_parts),
                       first_tap = part / channel_parts % row_parts * plan_.part_taps,
                       taps = std::min(plan_.part_taps, row_taps_ - first_tap);
    const std::int64_t first_block = part % channel_parts * plan_.part_blocks,
                       last_block = std::min(first_block + plan_.part_blocks, plan_.blocks);
    const std::int64_t columns = run_.shape.out_width, all = images * run_.shape.out_height,
                       at_once = std::max<std::int64_t>(kSweepPixels / columns, 1);
    float* const x = scratch_floats(Scratch::staged, at_once * columns * plan_.part_taps);
    filter += (filter_row * row_taps_ + first_tap) * plan_.stored_channels;
    for (std::int64_t row = 0; row < all; row += at_once) {
      const std::int64_t rows = std::min(at_once, all - row);
      for (std::int64_t i = 0; i < rows; ++i)
        gather(row + i, filter_row, first_tap, taps, x + i * columns * plan_.part_taps);
      for (std::int64_t block = first_block; block < last_block; ++block) {
        kernels_.weight_gradient_sweep({.staged = x,
                                        .staged_row = 0,
                                        .staged_pixel = plan_.part_taps,
                                        .taps = taps,
                                        .dy = panel(block, row * columns),
                                        .dy_row = 0,
                                        .dy_pixel = plan_.block_channels,
                                        .rows = 1,
                                        .columns = rows * columns,
                                        .channel_blocks = 1,
                                        .vectors = static_cast<int>(plan_.vectors),
                                        .d_weights = filter + block * plan_.block_channels,
                                        .d_weights_stride = plan_.stored_channels,
                                        .soon = {}});
      }
    }
  }

 private:
  float* panel(std::int64_t block, std::int64_t pixel) const {
    return dy_.data<float>() + (block * room_ * pixels_ + pixel) * plan_.block_channels;
  }

  /// What lies under a few taps of a filter row, for the pixels of one row of y, counted through the images.
  void gather(std::int64_t row, std::int64_t filter_row, std::int64_t first_tap, std::int64_t taps, float* to) const {
    const std::int64_t height = run_.shape.out_height, pixel = plan_.stride * run_.shape.channels;
    const float* from =
        x_.data<float>() + row / height * x_image_ + (row % height * plan_.stride + filter_row) * x_row_ + first_tap;
    for (std::int64_t column = 0; column < run_.shape.out_width; ++column, from += pixel, to += plan_.part_taps) {
      std::copy_n(from, taps, to);
    }
  }

  const Kernels& kernels_;
  const WeightsPlan& plan_;
  const WeightsRun& run_;
  std::int64_t row_taps_, x_row_, x_image_, pixels_, room_;
  Tensor x_, dy_;
};

}  // namespace

void CpuBackend::direct_weights_in_parts(const WeightsPlan& plan, const WeightsRun& run, float* filter,
                                         PartialSums& bias) {
  sum_in_parts(pool_, plan, run.shape.images, FilterParts(*this, kernels_, plan, run), filter, bias);
}

}  // namespace stagewise::cpu
