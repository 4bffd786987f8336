#include "layers/adamw.h"

namespace stagewise {

void AdamW::update(Backend& backend, const std::vector<Parameter>& parameters, double learning_rate,
                   const Tensor& rate) {
  std::vector<AdamWStep::Parameter> all;
  for (const Parameter& parameter : parameters) {
    const Variable& variable = parameter.variable;
    all.push_back({.value = variable.value(),
                   .gradient = variable.grad(),
                   .first = state("first_moment", parameter, variable.shape()),
                   .second = state("second_moment", parameter, variable.shape()),
                   .steps = state("steps", parameter, {1}),
                   .weight_decay = parameter.decays ? options_.weight_decay : 0.0});
  }
  backend.adamw_step({.parameters = all,
                      .learning_rate = learning_rate,
                      .rate = rate,
                      .beta1 = options_.beta1,
                      .beta2 = options_.beta2,
                      .epsilon = options_.epsilon});
}

}  // namespace stagewise
