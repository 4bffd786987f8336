// Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019), as PyTorch computes it. Its state is
// two moments for each parameter, and how often that has been stepped: a block that is inserted later counts from 0.
#pragma once

#include <string>
#include <vector>

#include "layers/optimiser.h"

namespace stagewise {

class AdamW final : public Optimiser {
 public:
  explicit AdamW(const OptimiserOptions& options = {.kind = OptimiserKind::adamw}) : options_(options) {}
  std::vector<std::string> state_kinds() const override { return {"first_moment", "second_moment", "steps"}; }

 private:
  void update(Backend& backend, const std::vector<Parameter>& parameters, double learning_rate,
              const Tensor& rate) override;

  OptimiserOptions options_;
};

}  // namespace stagewise
