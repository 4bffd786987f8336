#include "layers/sgd.h"

namespace stagewise {

void Sgd::update(Backend& backend, const std::vector<Parameter>& parameters, double learning_rate, const Tensor& rate) {
  std::vector<SgdStep::Parameter> all;
  for (const Parameter& parameter : parameters) {
    const Variable& variable = parameter.variable;
    all.push_back({.value = variable.value(),
                   .gradient = variable.grad(),
                   .velocity = state("velocity", parameter, variable.shape()),
                   .weight_decay = parameter.decays ? options_.weight_decay : 0.0});
  }
  backend.sgd_step({.parameters = all,
                    .learning_rate = learning_rate,
                    .rate = rate,
                    .momentum = options_.momentum,
                    .nesterov = options_.nesterov});
}

}  // namespace stagewise
