#include "layers/inference.h"

#include <algorithm>

#include "autograd/op.h"

namespace stagewise {

InferenceNetwork::InferenceNetwork(const Network& network)
    : image_(network.active_graph().input),
      steps_(folded_steps(network)),
      prepared_(steps_.size()),
      coefficients_(steps_.size()),
      left_out_(steps_.size(), false),
      done_(steps_.size()) {
  Backend& backend = network.backend();
  std::vector<std::size_t> last_read(steps_.size() + 1, 0);  // step by which a value is read last
  std::vector<bool> must_be(steps_.size() + 1, false);       // by something that can't normalise as it reads
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const FoldedStep& step = steps_[i];
    const auto* const op = std::get_if<folded::Convolve>(&step.op);
    last_read[step.input] = i;
    if (op == nullptr) must_be[step.input] = true;
    if (op != nullptr && op->addend) last_read[*op->addend] = i, must_be[*op->addend] = true;
  }
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    FoldedStep& step = steps_[i];
    if (auto* const linear = std::get_if<folded::Linear>(&step.op)) {
      linear->weight = linear->weight.clone();
      linear->bias = linear->bias.clone();
    }
    if (const auto* const op = std::get_if<folded::Convolve>(&step.op)) {
      prepared_[i] = backend.convolution_prepare(op->convolution.input, op->weight, op->convolution.options);
    }
    if (const auto* const op = std::get_if<folded::ScaleAndRelu>(&step.op)) {
      const auto full = [&](double value) {
        return Tensor::full(backend, op->scale.shape(), value, op->scale.dtype());
      };
      coefficients_[i] = {full(0.0), full(1.0), op->scale, op->shift};
      left_out_[i] = !must_be[i + 1];
      if (left_out_[i]) last_read[step.input] = std::max(last_read[step.input], last_read[i + 1]);
    }
  }
  for (std::size_t value = 1; value < last_read.size() - 1; ++value) done_[last_read[value]].push_back(value);
}

Tensor InferenceNetwork::convolve(std::size_t step, const folded::Convolve& op,
                                  const std::vector<Tensor>& values) const {
  std::size_t input = steps_[step].input;
  ConvolutionForward pass;
  if (input > 0 && left_out_[input - 1]) {
    pass.input_batch_norm = coefficients_[input - 1];
    input = steps_[input - 1].input;
  }
  pass.x = values[input];
  pass.weight = op.weight;
  pass.bias = op.bias;
  const Shape shape = convolution_output(pass.x.shape(), op.convolution.filter, op.convolution.options);
  pass.y = Tensor(pass.x.backend(), shape, pass.x.dtype());
  pass.options = op.convolution.options;
  if (op.addend) pass.addend = values[*op.addend];
  pass.relu = op.relu;
  pass.prepared = prepared_[step];
  pass.x.backend().convolution_forward(pass);
  return pass.y;
}

Tensor InferenceNetwork::run(std::size_t number, const std::vector<Tensor>& values) const {
  const FoldedStep& step = steps_[number];
  const Context context;
  const Variable x(values[step.input]);
  const ByKind by_kind{
      [&](const folded::Convolve& op) { return convolve(number, op, values); },
      [&](const folded::ScaleAndRelu&) {
        if (left_out_[number]) return Tensor();
        const Tensor y = empty_like(x.value());
        y.backend().batch_norm_forward({.x = x.value(), .batch_norm = coefficients_[number], .relu = true, .y = y});
        return y;
      },
      [&](const MaxPoolNode& pool) { return max_pool(context, x, pool.window, pool.options).value(); },
      [&](const ShortcutPadding& padding) {
        return padded_shortcut(context, x, padding.stride, padding.zeros_before, step.output[3]).value();
      },
      [&](const GlobalAveragePoolNode&) { return global_average_pool(context, x).value(); },
      [&](const folded::Linear& op) { return linear(context, x, Variable(op.weight), Variable(op.bias)).value(); },
  };
  return std::visit(by_kind, step.op);
}

Tensor InferenceNetwork::after(std::size_t count, const Tensor& x) const {
  expect_shape("inference", "images", x, {"N", image_[1], image_[2], image_[3]});
  const Tensor& classifier = std::get<folded::Linear>(steps_.back().op).weight;
  require(parameter_type(x.dtype()) == classifier.dtype() && x.backend().supports(x.dtype()) &&
              &x.backend() == &classifier.backend(),
          "[inference] expected images of ", name_of(classifier.dtype()), " on the network's backend, got ",
          name_of(x.dtype()), " on `", x.backend().name(), "`");
  std::vector<Tensor> values{x};
  for (std::size_t step = 0; step < count; ++step) {
    values.push_back(run(step, values));
    for (const std::size_t value : done_[step]) values[value] = {};
  }
  return values.back();
}

Tensor InferenceNetwork::logits(const Tensor& x) const { return after(steps_.size(), x); }

Tensor InferenceNetwork::features(const Tensor& x) const { return after(steps_.size() - 1, x); }

}  // namespace stagewise
