#include "cpu/reference_backend.h"

#include "cpu/host_backend.h"
#include "cpu/reference_kernels.h"

namespace stagewise {
namespace {

class ReferenceBackend final : public HostBackend {
 public:
  using HostBackend::HostBackend;

  std::string name() const override { return "reference"; }
  std::string description() const override { return "reference: plain loops, sums in double, one thread"; }
  bool supports(DType dtype) const override { return dtype == DType::float32 || dtype == DType::float64; }

  void add(const Tensor& a, const Tensor& b, const Tensor& out) override { reference::add(a, b, out); }
  void relu_forward(const Tensor& x, const Tensor& y) override { reference::relu_forward(x, y); }
  void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) override {
    reference::relu_backward(dy, y, dx);
  }

  std::vector<ConvolutionPlanText> convolution_plan(const Shape&, const Shape&, const Conv2dOptions&, DType) override {
    const char* const reason = "the formula as it is written, in double";
    return {{"forward", "direct", reason}, {"by data", "direct", reason}, {"by weights", "direct", reason}};
  }
  Tensor convolution_prepare(const Shape&, const Tensor&, const Conv2dOptions&) override { return {}; }
  void convolution_forward(const ConvolutionForward& call) override { reference::convolution_forward(call); }
  void convolution_backward_data(const ConvolutionBackwardData& call) override {
    reference::convolution_backward_data(call);
  }
  void convolution_backward_weights(const ConvolutionBackwardWeights& call) override {
    reference::convolution_backward_weights(call);
  }

  void batch_norm_moments(const BatchNormMoments& call) override { reference::batch_norm_moments(call); }
  void batch_norm_prepare(const BatchNormPrepare& call) override { reference::batch_norm_prepare(call); }
  void batch_norm_forward(const BatchNormForward& call) override { reference::batch_norm_forward(call); }
  void batch_norm_backward_reduce(const BatchNormBackwardReduce& call) override {
    reference::batch_norm_backward_reduce(call);
  }
  void batch_norm_backward_data(const BatchNormBackwardData& call) override {
    reference::batch_norm_backward_data(call);
  }

  void linear_forward(const LinearForward& call) override { reference::linear_forward(call); }
  void linear_backward(const LinearBackward& call) override { reference::linear_backward(call); }
  void average_pool_forward(const AveragePool& call) override { reference::average_pool_forward(call); }
  void average_pool_backward(const AveragePool& call) override { reference::average_pool_backward(call); }

  void max_pool_forward(const MaxPoolForward& call) override { reference::max_pool_forward(call); }
  void max_pool_backward(const MaxPoolBackward& call) override { reference::max_pool_backward(call); }
  void padded_shortcut_forward(const PaddedShortcut& call) override { reference::padded_shortcut_forward(call); }
  void padded_shortcut_backward(const PaddedShortcut& call) override { reference::padded_shortcut_backward(call); }

  void softmax(const Tensor& logits, const Tensor& probabilities) override {
    reference::softmax(logits, probabilities);
  }
  void softmax_cross_entropy(const SoftmaxCrossEntropy& call) override { reference::softmax_cross_entropy(call); }
  void sgd_step(const SgdStep& call) override { reference::sgd_step(call); }
  void adamw_step(const AdamWStep& call) override { reference::adamw_step(call); }
  void average_step(const AverageStep& call) override { reference::average_step(call); }

  void augment(const Augment& call) override { reference::augment(call); }
  void accumulate_moments(const AccumulateMoments& call) override { reference::accumulate_moments(call); }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend(bool guarded) { return std::make_unique<ReferenceBackend>(guarded); }

}  // namespace stagewise
