#include "layers/sgd.h"

#include <vector>

namespace stagewise {

void Sgd::step(const ResNet& network, double learning_rate) { step(network, SgdStep{.learning_rate = learning_rate}); }

void Sgd::step(const ResNet& network, const Tensor& rate) { step(network, SgdStep{.rate = rate}); }

void Sgd::step(const ResNet& network, SgdStep step) {
  std::vector<SgdStep::Parameter> parameters;
  std::vector<Variable> variables;
  Visitor visitor;
  visitor.parameter = [&](const std::string& name, const Variable& parameter, bool decays) {
    if (!parameter.grad().defined()) return;
    const Tensor& value = parameter.value();
    Tensor& velocity = velocities_[name];
    if (!velocity.defined()) velocity = Tensor::zeros(value.backend(), value.shape(), value.dtype());
    require(velocity.shape() == value.shape() && velocity.dtype() == value.dtype(), "[sgd] expected a velocity ",
            value.shape(), " of ", name_of(value.dtype()), " for ", name, ", got ", velocity.shape(), " of ",
            name_of(velocity.dtype()));
    parameters.push_back({value, parameter.grad(), velocity, decays ? options_.weight_decay : 0.0});
    variables.push_back(parameter);
  };
  visitor.buffer = [](const std::string&, const Tensor&) {};
  network.visit(visitor);
  step.parameters = parameters;
  step.momentum = options_.momentum;
  step.nesterov = options_.nesterov;
  network.backend().sgd_step(step);
  for (const Variable& variable : variables) variable.clear_grad();
}

void Sgd::keep_only(const ResNet& network) {
  const std::map<std::string, Tensor> kept = network.tensors();
  std::erase_if(velocities_, [&](const auto& velocity) { return !kept.contains(velocity.first); });
}

}  // namespace stagewise
