// The native residual block of pre-activation. Forward, a pass over the big tensors for each convolution:
//   y1 = conv1(relu(bn0(x)))                   normalising as it reads, gathering y1's moments as it writes
//   out = conv2(relu(bn1(y1))) + skip          likewise, gathering the sum's moments for the batch norm that comes next
// with a third convolution between them likewise. Kept for the way back: x, y1 and the batch norms' coefficients.
#include "autograd/residual_branch.h"

namespace stagewise {
namespace {

constexpr const char* kOp = "pre_activation_block";

void check(const Context& context, const Variable& x, const ResidualBlockParameters& parameters) {
  check_block(kOp, context, x, parameters);
  check_batch_norm(kOp, context, x.value(), x.shape(), parameters.pre_activation);
  const std::vector<const ConvolutionParameters*> branch = parameters.branch();
  for (const ConvolutionParameters* const one : branch) {
    require(has_batch_norm(*one) == (one != branch.back()),
            "[pre_activation_block] expected a batch norm before each convolution and none behind the last");
  }
  require(!has_batch_norm(parameters.projection),
          "[pre_activation_block] expected no batch norm behind the projection, which has one before it");
}

// Everything the way back reads.
struct Saved {
  Variable x;
  ResidualBlockParameters parameters;
  BatchNormCoefficients first;      // of the batch norm before conv1
  std::vector<Normalised> outputs;  // of the convolutions; the last one's y is not kept

  void backward(const Tensor& dz) const;
};

// From the gradient of the sum.
void Saved::backward(const Tensor& dz) const {
  const Tensor dy1 = backward_branch(parameters.branch(), outputs, x.value(), first, dz, {});
  const Tensor dx = empty_like(x.value());
  ConvolutionBackwardData pass = backward_data(parameters.conv1, dy1, {}, dx);
  if (parameters.projects()) {
    backward_weights(parameters.projection, x.value(), first, dz, {}, {}, {});
    dz.backend().convolution_backward_data(backward_data(parameters.projection, dz, {}, dx));
    pass.addend = dx;
  }
  pass.x = x.value();
  pass.input_batch_norm = first;
  pass.gradients = empty_gradients(first);
  dz.backend().convolution_backward_data(pass);
  give(parameters.pre_activation.weight, pass.gradients.weight);
  give(parameters.pre_activation.bias, pass.gradients.bias);
  if (!x.requires_grad()) return;
  dz.backend().batch_norm_backward_data(
      {.dz = dx, .x = x.value(), .batch_norm = first, .gradients = pass.gradients, .dx = dx});
  if (!parameters.projects()) {
    dz.backend().add(dx, parameters.pads() ? padded_backward(dz, x.value(), parameters.padding) : dz, dx);
  }
  x.accumulate_grad(dx);
}

}  // namespace

Variable pre_activation_block(const Context& context, const Variable& x, const ResidualBlockParameters& parameters) {
  check(context, x, parameters);
  Saved saved{x, parameters, batch_norm_coefficients_of(context, parameters.pre_activation, x), {}};
  Tensor skip = x.value();
  if (parameters.pads()) skip = padded(x.value(), parameters.padding);
  if (parameters.projects()) skip = convolve(context, x.value(), parameters.projection, saved.first).y;
  const std::vector<const ConvolutionParameters*> branch = parameters.branch();
  Normalised before{x.value(), saved.first};
  ChannelMoments moments;
  for (const ConvolutionParameters* const one : branch) {
    const bool last = one == branch.back();
    before = convolve(context, before.y, *one, before.batch_norm, last ? skip : Tensor(), last ? &moments : nullptr);
    saved.outputs.push_back(before);
  }
  const bool recorded = records(context, x) || records(context, parameters);
  const Variable output(before.y, recorded);
  output.set_moments(moments);
  if (!recorded) return output;
  saved.outputs.back().y = Tensor();
  record(context, kOp, output, [saved = std::move(saved)](const Tensor& dz) { saved.backward(dz); });
  return output;
}

}  // namespace stagewise
