#include "layers/shrink_and_perturb.h"

#include <map>
#include <string>
#include <vector>

namespace stagewise {

void shrink_and_perturb(Network& network, double keep, std::uint64_t seed) {
  require(keep >= 0.0 && keep <= 1.0, "[shrink] expected a share from 0 to 1 that is kept, got ", keep);
  const Tensor& any = network.classifier_bias().value();
  const std::map<std::string, Tensor> fresh =
      Network(network.backend(), network.architecture(), seed, any.dtype()).tensors();
  std::vector<AverageStep::Parameter> parameters;
  network.visit({.parameter = [&](const std::string& name, const Variable& parameter, bool /*decays*/) {
    parameters.push_back({parameter.value(), fresh.at(name)});
  }});
  network.backend().average_step({.parameters = parameters, .decay = keep});
}

}  // namespace stagewise
