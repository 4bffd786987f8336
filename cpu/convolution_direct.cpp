// The direct algorithm, forward and by data: one work item is a strip of an image. It stages input rows as it needs
// them (padding, normalise and ReLU on read), computes a few dozen pixels, and finishes them while they are still in L1
// (moments on write, or the batch-norm backward's mask and sums).
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

/// One strip of an image on its way through the direct algorithm.
class Strip {
 public:
  Strip(const Kernels& kernels, const ConvolutionPlan& plan, const ConvolutionRun& run, std::int64_t item)
      : kernels_(kernels),
        plan_(plan),
        run_(run),
        item_(item),
        image_(item / plan.strips),
        first_row_(item % plan.strips * plan.strip_rows),
        last_row_(std::min(first_row_ + plan.strip_rows, plan.grid_rows())),
        input_row_(plan.padded_width * plan.in_channels),
        staged_(scratch_floats(Scratch::staged, plan.staged_rows(last_row_ - first_row_) * input_row_)) {}

  /// All rows, a few at a time. Meanwhile those of the item `next`, which follows, are fetched.
  void run(std::int64_t next) {
    for (std::int64_t row = first_row_; row < last_row_; row += plan_.group_rows) {
      const std::int64_t end = std::min(row + plan_.group_rows, last_row_),
                         needed = plan_.staged_rows(end - first_row_);
      stage(needed);
      const std::int64_t more = plan_.staged_rows(std::min(end + plan_.group_rows, last_row_) - first_row_) - needed;
      compute(row, end,
              end < last_row_
                  ? input_rows(image_, first_row_ * plan_.input_stride + needed, more)
                  : input_rows(next / plan_.strips, next % plan_.strips * plan_.strip_rows, plan_.group_rows));
    }
  }

 private:
  /// The strip's input rows up to row `until`.
  void stage(std::int64_t until) {
    kernels_.stage_rows({run_.input.elements(image_ * plan_.in_height * plan_.in_width * plan_.in_channels),
                         plan_.in_height, plan_.in_width, plan_.in_channels,
                         first_row_ * plan_.input_stride + staged_rows_, until - staged_rows_, plan_.top, plan_.left,
                         plan_.padded_width, run_.normalise, staged_ + staged_rows_ * input_row_, plan_.stage_step});
    staged_rows_ = until;
  }

  /// Where `rows` rows of an image's padded input lie, from row `first` on, as far as they exist.
  Prefetch input_rows(std::int64_t image, std::int64_t first, std::int64_t rows) const {
    const std::int64_t floats = plan_.in_width * plan_.in_channels;
    const auto row = [&](std::int64_t padded) {
      return std::clamp<std::int64_t>((padded - plan_.top) * plan_.stage_step, 0, plan_.in_height);
    };
    return soon(run_.input, (image * plan_.in_height + row(first)) * floats, (row(first + rows) - row(first)) * floats);
  }

  /// The outputs of grid rows [row, end), finished.
  void compute(std::int64_t row, std::int64_t end, const Prefetch& soon_input) {
    const std::int64_t out_row = row * plan_.output_step, output_row = plan_.out_width * plan_.out_channels;
    const std::int64_t out_rows = std::min(end * plan_.output_step, plan_.out_height) - out_row;
    const std::int64_t offset = (image_ * plan_.out_height + out_row) * output_row, floats = out_rows * output_row;
    float* const output = run_.output.target(Scratch::result, offset, floats);
    const float* const addend =
        run_.addend.read(kernels_, run_.in_place() ? Scratch::result : Scratch::third_map, offset, floats);
    const Prefetch soon_output = soon(run_.output, offset + floats, floats);
    const auto parts = static_cast<std::int64_t>(plan_.parts.size());
    for (std::int64_t number = 0; number < parts; ++number) {
      if (plan_.parts[static_cast<std::size_t>(number)].taps == 0 && run_.in_place()) continue;
      ConvolutionBlock job = part_of(number, row, end, output, addend);
      multiply(job, number, soon_input, soon_output);
    }
    run_.epilogue(kernels_, item_, output, offset, out_rows * plan_.out_width, plan_.out_channels);
    run_.output.written(kernels_, output, offset, floats);
  }

  /// One part's pixels in these rows, before its blocks of channels.
  ConvolutionBlock part_of(std::int64_t number, std::int64_t row, std::int64_t end, float* output,
                           const float* addend) const {
    const SubConvolution& part = plan_.parts[static_cast<std::size_t>(number)];
    const std::int64_t top = plan_.top - row * plan_.input_stride;
    ConvolutionBlock job{};
    job.groups = part.groups.data();
    job.group_count = std::clamp<std::int64_t>(part.rows - row, 0, end - row) * part.row_groups;
    job.input = staged_ + (row - first_row_) * plan_.input_stride * input_row_;
    job.first_row = top, job.end_row = top + plan_.staged_height();
    job.output = output;
    job.input_stride = plan_.input_stride * plan_.in_channels;
    job.output_stride = plan_.output_step * plan_.out_channels;
    job.tap_rows = part.tap_rows.data();
    job.tap_row_count = static_cast<std::int64_t>(part.tap_rows.size());
    job.weights = run_.filter + part.packed_offset;
    job.vectors = plan_.vectors;
    job.has_addend = addend != nullptr;
    job.addend = addend != nullptr ? addend - output : 0;
    return job;
  }

  /// Its blocks of channels, one after the other.
  void multiply(ConvolutionBlock& job, std::int64_t number, const Prefetch& soon_input, const Prefetch& soon_output) {
    const std::int64_t block_channels = static_cast<std::int64_t>(plan_.vectors) * kernels_.lanes;
    const std::int64_t calls = static_cast<std::int64_t>(plan_.parts.size()) * plan_.blocks;
    for (std::int64_t block = 0; block < plan_.blocks; ++block) {
      const std::int64_t call = number * plan_.blocks + block;
      job.first_channel = block * block_channels;
      job.channels = std::min(block_channels, plan_.out_channels - job.first_channel);
      job.bias = run_.bias != nullptr ? run_.bias + job.first_channel : nullptr;
      job.soon[0] = soon_input.part(call, calls);
      job.soon[1] = soon_output.part(call, calls);
      kernels_.convolution_block(job);
      job.weights += plan_.parts[static_cast<std::size_t>(number)].taps * block_channels;
    }
  }

  const Kernels& kernels_;
  const ConvolutionPlan& plan_;
  const ConvolutionRun& run_;
  std::int64_t item_, image_, first_row_, last_row_, input_row_;
  float* staged_;
  std::int64_t staged_rows_ = 0;  // so far, from the strip's first on
};

}  // namespace

void CpuBackend::convolve_direct(const ConvolutionPlan& plan, const ConvolutionShape& shape,
                                 const ConvolutionRun& run) {
  pool_.sweep(plan.items(shape.images),
              [&](std::int64_t item) { Strip(kernels_, plan, run, item).run(pool_.after(item)); });
}

}  // namespace stagewise::cpu
