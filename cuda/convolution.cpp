#include "cuda/convolution.h"

#include "cuda/check.h"
#include "cuda/kernels.h"

namespace stagewise::cuda {
namespace {

/// Where a bare convolution writes: to `output`, but for an addend that lies there and is still to be read.
Tensor result_beside(const Tensor& addend, const Tensor& output) {
  if (addend.address() != output.address()) return output;
  return Tensor(output.backend(), output.shape(), output.dtype());
}

}  // namespace

Convolutions::Convolutions(cudaStream_t stream, const CudaOptions& options) : stream_(stream), tf32_(options.tf32) {
  if (options.direct_convolution) return;
  cudnnHandle_t handle = nullptr;
  STAGEWISE_CHECK(cudnnCreate(&handle));
  handle_.reset(handle);
  STAGEWISE_CHECK(cudnnSetStream(handle, stream));
  cudnn_ = std::make_unique<CudnnConvolutions>(
      cudnn::Target(handle),
      ConvolutionSettings{
          .tf32 = options.tf32, .strict = options.strict_convolution, .fuse = options.fuse, .report = options.report});
}

std::string Convolutions::description() const {
  if (!cudnn_) return "direct convolutions";
  const std::size_t version = cudnnGetVersion();
  return concat("cuDNN ", version / 10000, ".", version / 100 % 100, ".", version % 100, ", TF32 ",
                tf32_ ? "on" : "off");
}

/// relu(batch_norm(x)) in a tensor of its own.
Tensor Convolutions::normalised(const Tensor& x, const BatchNormCoefficients& coefficients) const {
  const Tensor a(x.backend(), x.shape(), x.dtype());
  batch_norm_forward({.x = x, .coefficients = coefficients, .relu = true, .y = a}, stream_);
  return a;
}

/// The weight in the type of the feature maps, as cuDNN wants it.
Tensor Convolutions::filters_for(const Tensor& maps, const Tensor& weight) const {
  if (weight.dtype() == maps.dtype()) return weight;
  const Tensor filters(weight.backend(), weight.shape(), maps.dtype());
  cast(weight, filters, stream_);
  return filters;
}

bool Convolutions::run_whole(const ConvolutionForward& call) {
  if (!cudnn_) return false;
  ConvolutionForward pass = call;
  pass.weight = filters_for(call.x, call.weight);
  pass.mean = pass.variance = Tensor();
  if (!cudnn_->run(pass)) return false;
  if (call.mean.defined()) batch_norm_moments(call.y, call.mean, call.variance, stream_);
  return true;
}

void Convolutions::run_parts(const ConvolutionForward& call) {
  const ConvolutionForward bare{
      .x = call.x, .weight = call.weight, .y = result_beside(call.addend, call.y), .options = call.options};
  if (!run_whole(bare)) {
    convolution_direct_forward({.x = bare.x, .weight = bare.weight, .y = bare.y, .options = bare.options}, stream_);
  }
  if (call.bias.defined() || call.addend.defined() || call.relu) {
    add_bias(bare.y, call.bias, call.addend, call.relu, call.y, stream_);
  }
  if (call.mean.defined()) batch_norm_moments(call.y, call.mean, call.variance, stream_);
}

void Convolutions::forward(const ConvolutionForward& call) {
  if (run_whole(call)) return;
  ConvolutionForward rest = call;
  if (call.normalise.defined()) {
    rest.x = normalised(call.x, call.normalise);
    rest.normalise = {};
    if (run_whole(rest)) return;
  }
  run_parts(rest);
}

void Convolutions::backward_data(const ConvolutionBackwardData& call) {
  const bool in_place = call.addend.defined() && call.addend.address() == call.dx.address();
  ConvolutionBackwardData bare{.dy = call.dy,
                               .weight = cudnn_ ? filters_for(call.dy, call.weight) : call.weight,
                               .addend = in_place ? call.addend : Tensor(),
                               .dx = call.dx,
                               .options = call.options};
  bool added = in_place;
  if (!cudnn_ || !cudnn_->run(bare)) {
    bare.dx = result_beside(call.addend, call.dx);
    added = false;
    convolution_direct_backward_data({.x = bare.dx, .weight = call.weight, .y = call.dy, .options = call.options},
                                     stream_);
  }
  if (call.addend.defined() && !added) add(bare.dx, call.addend, call.dx, stream_);
  if (!call.normalised_input.defined()) return;
  const BatchNormBackwardReduce reduce{.dy = call.dx,
                                       .y = call.relu_output,
                                       .x = call.x,
                                       .coefficients = call.normalised_input,
                                       .dz = call.dx,
                                       .gradients = call.gradients};
  call.relu_output.defined() ? batch_norm_backward_reduce(reduce, stream_)
                             : batch_norm_backward_reduce_normalised(reduce, stream_);
}

/// The gradient is in float32 whatever the maps are. From maps in bfloat16 cuDNN sums into float32, and rightly, only
/// where the numbers of channels are multiples of 8; elsewhere, as in the stem, the maps are widened, so that nothing
/// is rounded.
bool Convolutions::run_with_cudnn(const ConvolutionBackwardWeights& call) {
  if (!cudnn_) return false;
  if (cudnn_->run(call)) return true;
  if (call.x.dtype() == DType::float32) return false;
  ConvolutionBackwardWeights wide = call;
  wide.x = Tensor(call.x.backend(), call.x.shape());
  wide.dy = Tensor(call.dy.backend(), call.dy.shape());
  cast(call.x, wide.x, stream_);
  cast(call.dy, wide.dy, stream_);
  return cudnn_->run(wide);
}

void Convolutions::backward_weights(const ConvolutionBackwardWeights& call) {
  const Tensor input = call.normalise.defined() ? normalised(call.x, call.normalise) : call.x;
  Tensor dy = call.dy;
  if (call.batch_norm.defined()) {
    batch_norm_backward_data(
        {.dz = call.dy, .x = call.y, .coefficients = call.batch_norm, .gradients = call.gradients, .dx = call.dy_out},
        stream_);
    dy = call.dy_out;
  }
  if (!run_with_cudnn({.x = input, .dy = dy, .d_weight = call.d_weight, .options = call.options})) {
    convolution_direct_backward_weights({.x = input, .weight = call.d_weight, .y = dy, .options = call.options},
                                        stream_);
  }
  if (call.d_bias.defined()) channel_sums(dy, call.d_bias, stream_);
}

std::vector<ConvolutionPlanText> Convolutions::plan(const Shape& x, const Shape& weight, const Conv2dOptions& options,
                                                    DType maps) {
  if (cudnn_) return cudnn_->describe(x, weight, options, maps);
  const char* const reason = "our own kernel, as the formula is written";
  return {{"forward", "direct", reason}, {"by data", "direct", reason}, {"by weights", "direct", reason}};
}

}  // namespace stagewise::cuda
