#include "layers/optimiser.h"

#include "layers/adamw.h"
#include "layers/sgd.h"
#include "tensor/enum_names.h"

namespace stagewise {

std::string name_of(OptimiserKind kind) { return kind == OptimiserKind::sgd ? "sgd" : "adamw"; }

OptimiserKind optimiser_kind_from(const std::string& name) {
  return enum_from_name("optimiser", name, {OptimiserKind::sgd, OptimiserKind::adamw});
}

std::unique_ptr<Optimiser> make_optimiser(const OptimiserOptions& options) {
  if (options.kind == OptimiserKind::adamw) return std::make_unique<AdamW>(options);
  return std::make_unique<Sgd>(options);
}

void Optimiser::step(Network& network, double learning_rate, const Tensor& rate) {
  std::vector<Parameter> parameters;
  network.visit({.parameter = [&](const std::string& name, const Variable& parameter, bool decays) {
    if (parameter.grad().defined()) parameters.push_back({name, parameter, decays});
  }});
  update(network.backend(), parameters, learning_rate, rate);
  for (const Parameter& parameter : parameters) parameter.variable.clear_grad();
}

Tensor Optimiser::state(const std::string& kind, const Parameter& parameter, const Shape& shape) {
  const Tensor& value = parameter.variable.value();
  Tensor& kept = state_[kind + "." + parameter.name];
  if (!kept.defined()) kept = Tensor::zeros(value.backend(), shape, value.dtype());
  require(kept.shape() == shape && kept.dtype() == value.dtype(), "[optimiser] expected a ", kind, " ", shape, " of ",
          name_of(value.dtype()), " for ", parameter.name, ", got ", kept.shape(), " of ", name_of(kept.dtype()));
  return kept;
}

void Optimiser::keep_only(const Network& network) {
  const std::map<std::string, Tensor> kept = network.tensors();
  std::erase_if(state_,
                [&](const auto& entry) { return !kept.contains(entry.first.substr(entry.first.find('.') + 1)); });
}

}  // namespace stagewise
