#include "autograd/tape.h"

namespace stagewise {

Variable::Variable(Tensor value, bool requires_grad)
    : state_(std::make_shared<State>(State{std::move(value), Tensor(), requires_grad})) {}

void Variable::accumulate_grad(Tensor gradient) const {
  require(gradient.shape() == shape() && gradient.dtype() == value().dtype(), "[backward] expected a gradient ",
          shape(), " of ", name_of(value().dtype()), ", got ", gradient.shape(), " of ", name_of(gradient.dtype()));
  Tensor& grad = state_->grad;
  if (!grad.defined()) {
    grad = std::move(gradient);
    return;
  }
  grad.backend().add(grad, gradient, grad);
  // What was gathered from one of the gradients is not the whole.
  if (state_->origin != nullptr) state_->origin->gradients = {};
}

void Tape::record(const char* op, std::function<void()> backward) { records_.push_back({op, std::move(backward)}); }

void Tape::backward(const Variable& loss) {
  require(loss.defined() && loss.value().count() == 1, "[backward] expected a loss of one element, got ",
          loss.defined() ? concat(loss.shape()) : "an undefined variable");
  require(loss.requires_grad(),
          "[backward] expected a loss that was computed with this tape from variables that require a gradient");
  loss.accumulate_grad(Tensor::full(loss.value().backend(), loss.shape(), 1.0, loss.value().dtype()));
  backward();
}

void Tape::backward() {
  // Moved out first, so that an error on the way leaves an empty tape and not half of one.
  for (std::vector<Record> records = std::exchange(records_, {}); !records.empty(); records.pop_back()) {
    records.back().backward();
  }
}

std::vector<std::string> Tape::ops() const {
  std::vector<std::string> names;
  names.reserve(records_.size());
  for (const Record& record : records_) names.emplace_back(record.op);
  return names;
}

}  // namespace stagewise
