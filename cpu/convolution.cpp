// Convolution forward and by data, and the direct algorithm: one work item is a strip of an image. It stages input rows
// as it needs them (padding, normalise and ReLU on read), computes a few dozen pixels, and finishes them while they are
// still in L1 (moments on write, or the batch-norm backward's mask and sums).
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {

namespace {

/// Where `rows` rows of the padded input lie, from row `first` on, as far as they exist.
Prefetch input_rows(const ConvolutionPlan& plan, const FeatureMap& input, std::int64_t image, std::int64_t first,
                    std::int64_t rows) {
  const std::int64_t floats = plan.in_width * plan.in_channels;
  const auto row = [&](std::int64_t padded) {
    return std::clamp<std::int64_t>((padded - plan.top) * plan.stage_step, 0, plan.in_height);
  };
  return soon(input, (image * plan.in_height + row(first)) * floats, (row(first + rows) - row(first)) * floats);
}

}  // namespace

const ConvolutionPlan& CpuBackend::plan(const ConvolutionShape& shape, bool by_data) {
  const auto& [images, height, width, channels, out_height, out_width, out_channels, rows, columns, options] = shape;
  const std::array<std::int64_t, 13> key = {std::min(images, kManyImages),
                                            by_data,
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
    found = plans_
                .emplace(key, by_data ? plan_by_data(shape, kernels_, strict_convolution_)
                                      : plan_forward(shape, kernels_, strict_convolution_))
                .first;
  }
  return found->second;
}

void Epilogue::operator()(const Kernels& kernels, std::int64_t item, float* rows, std::int64_t offset,
                          std::int64_t pixels, std::int64_t channels) const {
  if (moments != nullptr) moments->add(kernels, item, {rows}, pixels);
  if (relu) kernels.relu_forward(rows, rows, pixels * channels);
  if (sums != nullptr) {
    kernels.batch_norm_reduce({{rows},
                               x.elements(offset),
                               relu_output.elements(offset),
                               coefficients,
                               relu_output.defined() ? ReluMask::output : ReluMask::normalised_input,
                               {rows},
                               pixels,
                               channels,
                               sums->first(item),
                               sums->second(item)});
  }
}

Tensor CpuBackend::prepare(const ConvolutionPlan& plan, const ConvolutionShape& shape, const float* weight) {
  const Tensor packed(*this, {std::max<std::int64_t>(plan.packed_floats, 1)});
  const auto parts = static_cast<std::int64_t>(plan.parts.size());
  pool_.run(parts * plan.blocks, [&](std::int64_t item) {
    const SubConvolution& part = plan.parts[static_cast<std::size_t>(item / plan.blocks)];
    pack_weights(plan, part, item % plan.blocks, kernels_.lanes, shape, weight, packed.data<float>());
  });
  return plan.choice.algorithm == Algorithm::winograd ? transform_filter(plan, packed) : packed;
}

void CpuBackend::convolve(const ConvolutionPlan& plan, const ConvolutionShape& shape, const ConvolutionRun& run) {
  plan.choice.algorithm == Algorithm::winograd ? convolve_winograd(plan, shape, run)
                                               : convolve_direct(plan, shape, run);
}

void CpuBackend::convolve_direct(const ConvolutionPlan& plan, const ConvolutionShape& shape,
                                 const ConvolutionRun& run) {
  const std::int64_t block_channels = static_cast<std::int64_t>(plan.vectors) * kernels_.lanes;
  const std::int64_t input_row = plan.padded_width * plan.in_channels, output_row = plan.out_width * plan.out_channels;
  pool_.sweep(plan.items(shape.images), [&](std::int64_t item) {
    const std::int64_t image = item / plan.strips, first_row = item % plan.strips * plan.strip_rows;
    const std::int64_t last_row = std::min(first_row + plan.strip_rows, plan.grid_rows());
    const std::int64_t image_output = image * plan.out_height * output_row;
    float* const staged = scratch_floats(Scratch::staged, plan.staged_rows(last_row - first_row) * input_row);
    StageRows stage{run.input.elements(image * plan.in_height * plan.in_width * plan.in_channels),
                    plan.in_height,
                    plan.in_width,
                    plan.in_channels,
                    0,
                    0,
                    plan.top,
                    plan.left,
                    plan.padded_width,
                    run.normalise,
                    nullptr,
                    plan.stage_step};
    const std::int64_t next = pool_.after(item);
    std::int64_t staged_rows = 0;  // so far, from the strip's first on
    for (std::int64_t row = first_row; row < last_row; row += plan.group_rows) {
      const std::int64_t end = std::min(row + plan.group_rows, last_row);
      const std::int64_t needed = plan.staged_rows(end - first_row);
      stage.first_row = first_row * plan.input_stride + staged_rows;
      stage.rows = needed - staged_rows;
      stage.staged = staged + staged_rows * input_row;
      kernels_.stage_rows(stage);
      staged_rows = needed;
      const Prefetch soon_input =
          end < last_row
              ? input_rows(plan, run.input, image, first_row * plan.input_stride + needed,
                           plan.staged_rows(std::min(end + plan.group_rows, last_row) - first_row) - needed)
              : input_rows(plan, run.input, next / plan.strips, next % plan.strips * plan.strip_rows, plan.group_rows);
      const std::int64_t out_row = row * plan.output_step;
      const std::int64_t out_rows = std::min(end * plan.output_step, plan.out_height) - out_row;
      const std::int64_t offset = image_output + out_row * output_row, floats = out_rows * output_row;
      float* const output = run.output.target(Scratch::result, offset, floats);
      const float* const addend =
          run.addend.read(kernels_, run.in_place() ? Scratch::result : Scratch::third_map, offset, floats);
      const Prefetch soon_output = soon(run.output, offset + floats, floats);
      const std::int64_t calls = static_cast<std::int64_t>(plan.parts.size()) * plan.blocks;
      std::int64_t call = 0;
      for (const SubConvolution& part : plan.parts) {
        if (part.taps == 0 && run.in_place()) continue;
        const std::int64_t top = plan.top - row * plan.input_stride;
        ConvolutionBlock job{part.groups.data(),
                             std::clamp<std::int64_t>(part.rows - row, 0, end - row) * part.row_groups,
                             staged + (row - first_row) * plan.input_stride * input_row,
                             top,
                             top + plan.staged_height(),
                             output,
                             plan.input_stride * plan.in_channels,
                             plan.output_step * plan.out_channels,
                             part.tap_rows.data(),
                             static_cast<std::int64_t>(part.tap_rows.size()),
                             run.filter + part.packed_offset,
                             0,
                             0,
                             plan.vectors,
                             nullptr,
                             addend != nullptr,
                             addend != nullptr ? addend - output : 0,
                             {}};
        for (std::int64_t block = 0; block < plan.blocks; ++block) {
          job.first_channel = block * block_channels;
          job.channels = std::min(block_channels, plan.out_channels - job.first_channel);
          job.bias = run.bias != nullptr ? run.bias + job.first_channel : nullptr;
          job.soon[0] = soon_input.part(call, calls);
          job.soon[1] = soon_output.part(call++, calls);
          kernels_.convolution_block(job);
          job.weights += part.taps * block_channels;
        }
      }
      run.epilogue(kernels_, item, output, offset, out_rows * plan.out_width, plan.out_channels);
      run.output.written(kernels_, output, offset, floats);
    }
  });
}

namespace {

ConvolutionShape shape_of(const Shape& x, const Shape& weight, const Conv2dOptions& options) {
  return {x[0],
          x[1],
          x[2],
          x[3],
          options.output_size(x[1], weight[1]),
          options.output_size(x[2], weight[2]),
          weight[0],
          weight[1],
          weight[2],
          options};
}

ConvolutionPlanText text_of(const char* direction, const AlgorithmChoice& choice, const TileRows& tiles,
                            std::int64_t items) {
  const bool winograd = choice.algorithm == Algorithm::winograd;
  const std::string blocks = winograd ? concat(", blocks of ", tiles.block_tiles(), " tiles") : "";
  return {direction, winograd ? "winograd" : "direct", concat(choice.reason, blocks, ", ", items, " work items")};
}

}  // namespace

std::vector<ConvolutionPlanText> CpuBackend::convolution_plan(const Shape& x, const Shape& weight,
                                                              const Conv2dOptions& options) {
  const ConvolutionShape shape = shape_of(x, weight, options);
  const ConvolutionPlan &forward = plan(shape, false), &by_data = plan(shape, true);
  const WeightsPlan by_weights = plan_weights(shape, kernels_, strict_convolution_);
  return {text_of("forward", forward.choice, forward.tiles, forward.items(shape.images)),
          text_of("by data", by_data.choice, by_data.tiles, by_data.items(shape.images)),
          text_of("by weights", by_weights.choice, by_weights.tiles, by_weights.chunks(shape.images))};
}

Tensor CpuBackend::convolution_prepare(const Shape& x, const Tensor& weight, const Conv2dOptions& options) {
  const ConvolutionShape shape = shape_of(x, weight.shape(), options);
  return prepare(plan(shape, false), shape, weight.data<float>());
}

void CpuBackend::convolution_forward(const ConvolutionForward& call) {
  const ConvolutionShape shape = convolution_shape(call.x, call.weight, call.y, call.options);
  const ConvolutionPlan& plan = this->plan(shape, false);
  const bool gathers = call.mean.defined();
  PartialMoments moments(gathers ? plan.items(shape.images) : 0, shape.out_channels);
  const ChannelCoefficients normalise = pointers(call.normalise);
  const Tensor filter = call.prepared.defined() ? call.prepared : prepare(plan, shape, call.weight.data<float>());
  convolve(plan, shape,
           {.input = FeatureMap(call.x),
            .normalise = call.normalise.defined() ? &normalise : nullptr,
            .filter = filter.data<float>(),
            .bias = call.bias.data<float>(),
            .addend = FeatureMap(call.addend),
            .output = FeatureMap(call.y),
            .epilogue = {.moments = gathers ? &moments : nullptr, .relu = call.relu}});
  if (gathers) moments.combine(call.mean.data<float>(), call.variance.data<float>());
}

void CpuBackend::convolution_backward_data(const ConvolutionBackwardData& call) {
  const ConvolutionShape shape = convolution_shape(call.dx, call.weight, call.dy, call.options);
  const ConvolutionPlan& plan = this->plan(shape, true);
  const bool folds = call.normalised_input.defined();
  PartialSums sums(folds ? plan.items(shape.images) : 0, shape.channels);
  const Tensor filter = prepare(plan, shape, call.weight.data<float>());
  convolve(plan, shape,
           {.input = FeatureMap(call.dy),
            .normalise = nullptr,
            .filter = filter.data<float>(),
            .bias = nullptr,
            .addend = FeatureMap(call.addend),
            .output = FeatureMap(call.dx),
            .epilogue = {.sums = folds ? &sums : nullptr,
                         .x = FeatureMap(call.x),
                         .relu_output = FeatureMap(call.relu_output),
                         .coefficients = pointers(call.normalised_input)}});
  if (folds) sums.combine(call.gradients);
}

}  // namespace stagewise::cpu
