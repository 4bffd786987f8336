// Stochastic gradient descent with momentum (Sutskever et al. 2013 for Nesterov's form). Its state is a velocity for each
// parameter.
#pragma once

#include <string>
#include <vector>

#include "layers/optimiser.h"

namespace stagewise {

class Sgd final : public Optimiser {
 public:
  explicit Sgd(const OptimiserOptions& options = {}) : options_(options) {}
  std::vector<std::string> state_kinds() const override { return {"velocity"}; }

 private:
  void update(Backend& backend, const std::vector<Parameter>& parameters, double learning_rate,
              const Tensor& rate) override;

  OptimiserOptions options_;
};

}  // namespace stagewise
