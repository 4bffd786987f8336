// Convolution forward and by data: the plan, the filter as the plan wants it, and what is folded in, whichever
// algorithm does the rest (convolution_direct.cpp, winograd.cpp).
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {

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

namespace {

ConvolutionShape shape_of(const Shape& x, const Shape& weight, const Conv2dOptions& options) {
  const Shape y = convolution_output(x, weight, options);
  return {x[0], x[1], x[2], x[3], y[1], y[2], y[3], weight[1], weight[2], options};
}

ConvolutionPlanText text_of(const char* direction, const AlgorithmChoice& choice, const TileRows& tiles,
                            std::int64_t items, const char* kind = "") {
  const bool winograd = choice.algorithm == Algorithm::winograd;
  const std::string blocks = winograd ? concat(", blocks of ", tiles.block_tiles(), " tiles") : "";
  return {direction, winograd ? "winograd" : "direct", concat(choice.reason, blocks, ", ", items, " work items", kind)};
}

}  // namespace

std::vector<ConvolutionPlanText> CpuBackend::convolution_plan(const Shape& x, const Shape& weight,
                                                              const Conv2dOptions& options, DType /*maps*/) {
  const ConvolutionShape shape = shape_of(x, weight, options);
  const ConvolutionPlan &forward = plan(shape, false), &by_data = plan(shape, true);
  const WeightsPlan by_weights = plan_weights(shape, kernels_, strict_convolution_);
  return {
      text_of("forward", forward.choice, forward.tiles, forward.items(shape.images) * forward.channel_parts()),
      text_of("by data", by_data.choice, by_data.tiles, by_data.items(shape.images) * by_data.channel_parts()),
      by_weights.in_parts
          ? text_of("by weights", by_weights.choice, by_weights.tiles, by_weights.parts(), ", parts of a large filter")
          : text_of("by weights", by_weights.choice, by_weights.tiles, by_weights.chunks(shape.images))};
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
  const ChannelCoefficients normalise = pointers(call.input_batch_norm);
  const Tensor filter = call.prepared.defined() ? call.prepared : prepare(plan, shape, call.weight.data<float>());
  convolve(plan, shape,
           {.input = FeatureMap(call.x),
            .normalise = call.input_batch_norm.defined() ? &normalise : nullptr,
            .filter = filter.data<float>(),
            .bias = call.bias.data<float>(),
            .addend = FeatureMap(call.addend),
            .output = FeatureMap(call.y),
            .epilogue = {.moments = gathers ? &moments : nullptr, .relu = call.relu}});
  if (gathers) moments.combine(call.mean.data<float>(), call.variance.data<float>());
  if (call.output_batch_norm.defined()) batch_norm_prepare(call.output_batch_norm);
}

void CpuBackend::convolution_backward_data(const ConvolutionBackwardData& call) {
  const ConvolutionShape shape = convolution_shape(call.dx, call.weight, call.dy, call.options);
  const ConvolutionPlan& plan = this->plan(shape, true);
  const bool folds = call.input_batch_norm.defined();
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
                         .coefficients = pointers(call.input_batch_norm)}});
  if (folds) sums.combine(call.gradients);
}

}  // namespace stagewise::cpu
