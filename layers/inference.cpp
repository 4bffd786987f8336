#include "layers/inference.h"

#include <algorithm>

#include "autograd/op.h"

namespace stagewise {

InferenceNetwork::InferenceNetwork(const Network& network)
    : image_(network.active_graph().input),
      steps_(folded_steps(network)),
      prepared_(steps_.size()),
      on_read_(steps_.size()),
      left_out_(steps_.size(), false),
      done_(steps_.size()) {
  std::vector<std::size_t> last_read(steps_.size() + 1, 0);  // step by which a value is read last
  std::vector<bool> must_be(steps_.size() + 1, false);       // by something that can't normalise as it reads
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    FoldedStep& step = steps_[i];
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
    if (auto* const op = std::get_if<folded::Convolve>(&step.op)) {
      prepared_[i] = network.backend().convolution_prepare(op->convolution.input, op->weight, op->convolution.options);
      const auto* const before =
          step.input > 0 ? std::get_if<folded::ScaleAndRelu>(&steps_[step.input - 1].op) : nullptr;
      if (before != nullptr && !must_be[step.input]) {
        const Tensor zeros = Tensor::full(network.backend(), before->scale.shape(), 0.0, before->scale.dtype()),
                     ones = Tensor::full(network.backend(), before->scale.shape(), 1.0, before->scale.dtype());
        on_read_[i] = {zeros, ones, before->scale, before->shift};
        left_out_[step.input - 1] = true;
        const std::size_t source = steps_[step.input - 1].input;
        last_read[source] = std::max(last_read[source], i);
      }
    }
  }
  for (std::size_t value = 1; value < last_read.size() - 1; ++value) done_[last_read[value]].push_back(value);
}

Tensor InferenceNetwork::convolve(std::size_t step, const folded::Convolve& op,
                                  const std::vector<Tensor>& values) const {
  const std::size_t input = steps_[step].input;
  ConvolutionForward pass;
  pass.input_batch_norm = on_read_[step];
  pass.x = values[pass.input_batch_norm.defined() ? steps_[input - 1].input : input];
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
      [&](const folded::ScaleAndRelu& op) {
        if (left_out_[number]) return Tensor();
        const Tensor y = empty_like(x.value());
        const Tensor zeros = Tensor::full(y.backend(), op.scale.shape(), 0.0, op.scale.dtype());
        y.backend().batch_norm_forward(
            {.x = x.value(), .batch_norm = {zeros, op.scale, op.scale, op.shift}, .relu = true, .y = y});
        return y;
      },
      [&](const folded::MaxPool& op) { return max_pool(context, x, op.window, op.options).value(); },
      [&](const folded::PadShortcut& op) {
        return padded_shortcut(context, x, op.stride, op.zeros_before, step.output[3]).value();
      },
      [&](const folded::GlobalAveragePool&) { return global_average_pool(context, x).value(); },
      [&](const folded::Linear& op) { return linear(context, x, Variable(op.weight), Variable(op.bias)).value(); },
  };
  return std::visit(by_kind, step.op);
}

Tensor InferenceNetwork::logits(const Tensor& x) const {
  expect_shape("inference", "images", x, {"N", image_[1], image_[2], image_[3]});
  const Tensor& classifier = std::get<folded::Linear>(steps_.back().op).weight;
  require(parameter_type(x.dtype()) == classifier.dtype() && x.backend().supports(x.dtype()) &&
              &x.backend() == &classifier.backend(),
          "[inference] expected images of ", name_of(classifier.dtype()), " on the network's backend, got ",
          name_of(x.dtype()), " on `", x.backend().name(), "`");
  std::vector<Tensor> values{x};
  for (std::size_t step = 0; step < steps_.size(); ++step) {
    values.push_back(run(step, values));
    for (const std::size_t value : done_[step]) values[value] = {};
  }
  return values.back();
}

}  // namespace stagewise
