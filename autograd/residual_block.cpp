// The native residual block. Forward, three passes over the big tensors for each convolution:
//   y1 = conv1(x)                              gathering y1's moments as it writes
//   y2 = conv2(relu(bn1(y1)))                  normalising as it reads, gathering y2's moments; y3 likewise
//   out = relu(bn2(y2) + skip)
// Kept for the way back: x, y1, y2, out and the batch norms' coefficients; never relu(bn1(y1)).
#include "autograd/residual_branch.h"

namespace stagewise {
namespace {

constexpr const char* kOp = "residual_block";

void check(const Context& context, const Variable& x, const ResidualBlockParameters& parameters, bool with_relu) {
  check_block(kOp, context, x, parameters);
  for (const ConvolutionParameters* const one : parameters.branch()) {
    require(has_batch_norm(*one), "[residual_block] expected a batch norm behind ",
            parameters.conv3.weight.defined() ? "all three" : "both", " convolutions");
  }
  require(!parameters.pre_activation.weight.defined(),
          "[residual_block] expected no pre-activation, which pre_activation_block computes");
  require(with_relu || context.tape == nullptr,
          "[residual_block] expected a last ReLU with a tape: the sum before it "
          "has no backward");
}

// Everything the way back reads.
struct Saved {
  Variable x;
  ResidualBlockParameters parameters;
  std::vector<Normalised> outputs;  // of the convolutions
  Normalised skip;                  // skip.y is defined where the projection's batch norm needs it
  Variable out;

  void backward(const Tensor& dz) const;
  void backward_projection(const Tensor& dz, const Tensor& dx) const;
};

// Through the projection, whose share of the gradient of x is added to `dx` where x wants one. It comes last because a
// strided filter of 1x1 then computes only the pixels that it read.
void Saved::backward_projection(const Tensor& dz, const Tensor& dx) const {
  BatchNormGradients gradients;
  if (skip.batch_norm.defined()) gradients = backward_batch_norm({}, skip.y, skip.batch_norm, dz);
  backward_weights(parameters.projection, x.value(), {}, dz, skip, gradients, dz);
  if (dx.defined()) backward_data_of(x, backward_data(parameters.projection, dz, dx, dx));
}

// From the gradient of the output, which becomes that of the sum.
void Saved::backward(const Tensor& dz) const {
  const Normalised& last = outputs.back();
  const BatchNormGradients gradients = backward_batch_norm(out, last.y, last.batch_norm, dz);
  const Tensor dy1 = backward_branch(parameters.branch(), outputs, x.value(), {}, dz, gradients);
  if (!parameters.projects()) {
    if (!x.requires_grad()) return;
    const Tensor dx = parameters.pads() ? padded_backward(dz, x.value(), parameters.padding) : dz;
    backward_data_of(x, backward_data(parameters.conv1, dy1, dx, dx));
    return;
  }
  Tensor dx;
  if (x.requires_grad()) {
    dx = empty_like(x.value());
    dx.backend().convolution_backward_data(backward_data(parameters.conv1, dy1, {}, dx));
  }
  backward_projection(dz, dx);
}

}  // namespace

Variable residual_block(const Context& context, const Variable& x, const ResidualBlockParameters& parameters,
                        bool with_relu) {
  check(context, x, parameters, with_relu);
  Saved saved{x, parameters, {}, {}, {}};
  Normalised before{x.value(), {}};
  for (const ConvolutionParameters* const one : parameters.branch()) {
    before = convolve(context, before.y, *one, before.batch_norm);
    saved.outputs.push_back(before);
  }
  const Normalised& last = saved.outputs.back();
  saved.skip.y = parameters.pads() ? padded(x.value(), parameters.padding) : x.value();
  if (parameters.projects()) saved.skip = convolve(context, x.value(), parameters.projection, {});
  const bool recorded = records(context, x) || records(context, parameters);
  saved.out = Variable(recorded ? empty_like(last.y) : last.y, recorded);
  BatchNormForward sum;
  sum.x = last.y;
  sum.batch_norm = last.batch_norm;
  sum.addend = saved.skip.y;
  sum.addend_batch_norm = saved.skip.batch_norm;
  sum.relu = with_relu;
  sum.y = saved.out.value();
  sum.y.backend().batch_norm_forward(sum);
  const Variable output = saved.out;
  if (!recorded) return output;
  output.set_origin({last.y, last.batch_norm, {}});
  if (!saved.skip.batch_norm.defined()) saved.skip.y = Tensor();
  record(context, kOp, output, [saved = std::move(saved)](const Tensor& dz) { saved.backward(dz); });
  return output;
}

}  // namespace stagewise
