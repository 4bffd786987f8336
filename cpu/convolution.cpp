// Convolution forward and by data: one work item is a strip of an image. It stages input rows as it needs them
// (padding, normalise and ReLU on read), computes a few dozen pixels, and finishes them while they are still in L1
// (moments on write, or the batch-norm backward's mask and sums).
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {

struct CpuBackend::Epilogue {
  enum class Kind { none, moments, batch_norm_backward } kind = Kind::none;
  PartialSums* sums = nullptr;
  const float* x = nullptr;  // batch_norm_backward: what the forward pass normalised
  ChannelCoefficients coefficients = {};
};

namespace {

/// The part's output pixels in grid rows [begin, end), in groups.
void list_groups(const ConvolutionPlan& plan, const SubConvolution& part, std::int64_t group, std::int64_t begin,
                 std::int64_t end, const float* staged, float* output, std::vector<PixelGroup>& groups) {
  groups.clear();
  for (std::int64_t row = begin; row < std::min(end, part.rows); ++row) {
    const float* input = staged + (row - begin) * plan.input_stride * plan.padded_width * plan.in_channels;
    const std::int64_t out_row = part.row_offset + row * plan.output_step;
    for (std::int64_t column = 0; column < part.columns; column += group) {
      const std::int64_t out_column = part.column_offset + column * plan.output_step;
      groups.push_back({input + column * plan.input_stride * plan.in_channels,
                        output + (out_row * plan.out_width + out_column) * plan.out_channels,
                        std::min(group, part.columns - column)});
    }
  }
}

}  // namespace

const ConvolutionPlan& CpuBackend::plan(const ConvolutionShape& shape, bool by_data) {
  const auto& [images, height, width, channels, out_height, out_width, out_channels, rows, columns, options] = shape;
  const std::array<std::int64_t, 12> key = {by_data,
                                            height,
                                            width,
                                            channels,
                                            out_height,
                                            out_width,
                                            out_channels,
                                            rows,
                                            columns,
                                            options.stride,
                                            options.padding_before,
                                            options.padding_after};
  const std::lock_guard lock(plans_mutex_);
  auto found = plans_.find(key);
  if (found == plans_.end()) {
    found = plans_.emplace(key, by_data ? plan_by_data(shape, kernels_) : plan_forward(shape, kernels_)).first;
  }
  return found->second;
}

void CpuBackend::run_convolution(const ConvolutionPlan& plan, const ConvolutionShape& shape, const float* input,
                                 const ChannelCoefficients* normalise, const float* weight, const float* bias,
                                 const float* addend, float* output, const Epilogue& epilogue) {
  const std::int64_t block_channels = static_cast<std::int64_t>(plan.vectors) * kernels_.lanes;
  const Tensor packed_tensor(*this, {std::max<std::int64_t>(plan.packed_floats, 1)});
  float* const packed = packed_tensor.data<float>();
  const auto part_count = static_cast<std::int64_t>(plan.parts.size());
  pool_.run(part_count * plan.blocks, [&](std::int64_t item) {
    const SubConvolution& part = plan.parts[static_cast<std::size_t>(item / plan.blocks)];
    pack_weights(plan, part, item % plan.blocks, kernels_.lanes, shape, weight, packed);
  });

  const std::int64_t input_row = plan.padded_width * plan.in_channels, output_row = plan.out_width * plan.out_channels;
  pool_.run(shape.images * plan.strips, [&](std::int64_t item) {
    const std::int64_t image = item / plan.strips, first_row = item % plan.strips * plan.strip_rows;
    const std::int64_t last_row = std::min(first_row + plan.strip_rows, plan.grid_rows());
    float* const image_output = output + image * plan.out_height * output_row;
    float* const staged = scratch_floats(0, plan.staged_rows(last_row - first_row) * input_row);
    StageRows stage{input + image * plan.in_height * plan.in_width * plan.in_channels,
                    plan.in_height,
                    plan.in_width,
                    plan.in_channels,
                    0,
                    0,
                    plan.top,
                    plan.left,
                    plan.padded_width,
                    normalise,
                    nullptr};
    thread_local std::vector<PixelGroup> groups;
    std::int64_t staged_rows = 0;  // so far, from the strip's first on
    for (std::int64_t row = first_row; row < last_row; row += plan.group_rows) {
      const std::int64_t end = std::min(row + plan.group_rows, last_row);
      const std::int64_t needed = plan.staged_rows(end - first_row);
      stage.first_row = first_row * plan.input_stride + staged_rows;
      stage.rows = needed - staged_rows;
      stage.staged = staged + staged_rows * input_row;
      kernels_.stage_rows(stage);
      staged_rows = needed;
      for (const SubConvolution& part : plan.parts) {
        list_groups(plan, part, kernels_.group[plan.vectors], row, end,
                    staged + (row - first_row) * plan.input_stride * input_row, image_output, groups);
        ConvolutionBlock job{groups.data(),
                             static_cast<std::int64_t>(groups.size()),
                             plan.input_stride * plan.in_channels,
                             plan.output_step * plan.out_channels,
                             part.tap_rows.data(),
                             static_cast<std::int64_t>(part.tap_rows.size()),
                             packed + part.packed_offset,
                             0,
                             0,
                             plan.vectors,
                             nullptr,
                             addend != nullptr,
                             addend != nullptr ? addend - output : 0};
        for (std::int64_t block = 0; block < plan.blocks; ++block) {
          job.first_channel = block * block_channels;
          job.channels = std::min(block_channels, plan.out_channels - job.first_channel);
          job.bias = bias != nullptr ? bias + job.first_channel : nullptr;
          kernels_.convolution_block(job);
          job.weights += part.taps * block_channels;
        }
      }
      const std::int64_t out_row = row * plan.output_step;
      const std::int64_t out_rows = std::min(end * plan.output_step, plan.out_height) - out_row;
      float* const finished = image_output + out_row * output_row;
      if (epilogue.kind == Epilogue::Kind::moments) {
        kernels_.moment_sums(finished, out_rows * plan.out_width, plan.out_channels,
                             image_output + first_row * plan.output_step * output_row, epilogue.sums->first(item),
                             epilogue.sums->second(item));
      } else if (epilogue.kind == Epilogue::Kind::batch_norm_backward) {
        kernels_.batch_norm_reduce({finished, nullptr, epilogue.x + (finished - output), epilogue.coefficients,
                                    ReluMask::normalised_input, finished, out_rows * plan.out_width, plan.out_channels,
                                    epilogue.sums->first(item), epilogue.sums->second(item)});
      }
    }
  });
}

void CpuBackend::convolution_forward(const ConvolutionForward& call) {
  const ConvolutionShape shape = convolution_shape(call.x, call.weight, call.y, call.options);
  const ConvolutionPlan& plan = this->plan(shape, false);
  const bool gathers = call.mean.defined();
  const std::int64_t items = shape.images * plan.strips;
  PartialSums sums(gathers ? items : 0, shape.out_channels);
  const ChannelCoefficients normalise = pointers(call.normalise);
  run_convolution(plan, shape, call.x.data<float>(), call.normalise.defined() ? &normalise : nullptr,
                  call.weight.data<float>(), call.bias.data<float>(), nullptr, call.y.data<float>(),
                  {gathers ? Epilogue::Kind::moments : Epilogue::Kind::none, &sums, nullptr, {}});
  if (!gathers) return;
  std::vector<std::int64_t> pixels;
  std::vector<const float*> pivots;
  for (std::int64_t item = 0; item < items; ++item) {
    const std::int64_t first_row = item % plan.strips * plan.strip_rows;
    const std::int64_t rows = std::min(plan.strip_rows, plan.out_height - first_row);
    pixels.push_back(rows * plan.out_width);
    pivots.push_back(call.y.data<float>() +
                     (item / plan.strips * plan.out_height + first_row) * plan.out_width * plan.out_channels);
  }
  combine_moments(sums, pixels, pivots, shape.out_channels, call.mean.data<float>(), call.variance.data<float>());
}

void CpuBackend::convolution_backward_data(const ConvolutionBackwardData& call) {
  const ConvolutionShape shape = convolution_shape(call.dx, call.weight, call.dy, call.options);
  const ConvolutionPlan& plan = this->plan(shape, true);
  const bool folds = call.normalised_input.defined();
  const std::int64_t items = shape.images * plan.strips;
  PartialSums sums(folds ? items : 0, shape.channels);
  run_convolution(plan, shape, call.dy.data<float>(), nullptr, call.weight.data<float>(), nullptr,
                  call.addend.data<float>(), call.dx.data<float>(),
                  {folds ? Epilogue::Kind::batch_norm_backward : Epilogue::Kind::none, &sums, call.x.data<float>(),
                   pointers(call.normalised_input)});
  if (folds) combine_gradients(sums, items, shape.channels, call.gradients);
}

}  // namespace stagewise::cpu
