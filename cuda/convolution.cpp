#include "cuda/convolution.h"

#include "cuda/check.h"
#include "cuda/kernels.h"

namespace stagewise::cuda {

Convolutions::Convolutions(cudaStream_t stream, const CudaOptions& options)
    : stream_(stream), tf32_(options.tf32), tuned_(options.plans ? options.plans->plans.size() : 0) {
  if (options.direct_convolution) return;
  cudnnHandle_t handle = nullptr;
  STAGEWISE_CHECK(cudnnCreate(&handle));
  handle_.reset(handle);
  STAGEWISE_CHECK(cudnnSetStream(handle, stream));
  cudnn_ = std::make_unique<CudnnConvolutions>(
      cudnn::Target(handle), ConvolutionSettings{.tf32 = options.tf32,
                                                 .strict = options.strict_convolution,
                                                 .fuse = options.fuse,
                                                 .own_filter_gradient = options.own_filter_gradient,
                                                 .shared_workspace = options.memory == CudaOptions::Memory::cached,
                                                 .plans = options.plans,
                                                 .report = options.report});
}

std::string Convolutions::description() const {
  if (!cudnn_) return "direct convolutions";
  return concat("cuDNN ", cudnn::version(), ", TF32 ", tf32_ ? "on" : "off",
                tuned_ > 0 ? concat(", ", tuned_, " tuned plans") : "");
}

std::vector<Tensor> Convolutions::prepare(std::span<const Tensor> weights, DType maps) const {
  if (!cudnn_ || maps != DType::bfloat16) return {};
  return round_filters(weights, stream_);
}

/// The weight in the type of the feature maps: what was prepared, or a cast for this call alone.
Tensor Convolutions::filters_for(const Tensor& maps, const Tensor& weight, const Tensor& prepared) const {
  if (weight.dtype() == maps.dtype()) return weight;
  if (prepared.defined()) return prepared;
  const Tensor filters(weight.backend(), weight.shape(), maps.dtype());
  cast(weight, filters, stream_);
  return filters;
}

// What cuDNN never takes is refused before the filters are cast for it: the cast would be for nothing.

bool Convolutions::run(const ConvolutionForward& call) {
  if (!cudnn_ || call.mean.defined()) return false;
  ConvolutionForward pass = call;
  pass.weight = filters_for(call.x, call.weight, call.prepared);
  return cudnn_->run(pass);
}

bool Convolutions::run(const ConvolutionBackwardData& call) {
  const bool beside = call.addend.defined() && call.addend.address() != call.dx.address();
  if (!cudnn_ || call.input_batch_norm.defined() || beside) return false;
  ConvolutionBackwardData pass = call;
  pass.weight = filters_for(call.dy, call.weight, call.prepared);
  return cudnn_->run(pass);
}

/// The gradient is in float32 whatever the maps are. From maps in bfloat16 cuDNN sums into float32, and rightly, only
/// where the numbers of channels are multiples of 8; elsewhere, as in the stem, the maps are widened, so that nothing
/// is rounded.
bool Convolutions::run(const ConvolutionBackwardWeights& call) {
  if (!cudnn_ || call.input_batch_norm.defined() || call.output_batch_norm.defined() || call.d_bias.defined())
    return false;
  if (cudnn_->run(call)) return true;
  if (call.x.dtype() == DType::float32) return false;
  ConvolutionBackwardWeights wide = call;
  wide.x = Tensor(call.x.backend(), call.x.shape());
  wide.dy = Tensor(call.dy.backend(), call.dy.shape());
  cast(call.x, wide.x, stream_);
  cast(call.dy, wide.dy, stream_);
  return cudnn_->run(wide);
}

std::vector<ConvolutionPlanText> Convolutions::plan(const Shape& x, const Shape& weight, const Conv2dOptions& options,
                                                    DType maps) {
  if (cudnn_) return cudnn_->describe(x, weight, options, maps);
  const char* const reason = "our own kernel, as the formula is written";
  return {{"forward", "direct", reason}, {"by data", "direct", reason}, {"by weights", "direct", reason}};
}

}  // namespace stagewise::cuda
