// Stochastic gradient descent over a network's parameters (Sutskever et al. 2013 for Nesterov's form).
#pragma once

#include <map>
#include <string>

#include "layers/resnet.h"

namespace stagewise {

struct SgdOptions {
  double momentum = 0.9;
  double weight_decay = 5e-4;  // on filters and linear weights only
  bool nesterov = true;
};

/// Velocities are kept by parameter name: growing a network leaves the old blocks' in place, a new block starts at
/// zero.
class Sgd {
 public:
  explicit Sgd(SgdOptions options = {}) : options_(options) {}

  /// One step over all parameters that have a gradient, in one call of the backend; clears the gradients.
  void step(const ResNet& network, double learning_rate);
  /// The same with a learning rate on the device, float32 [1]: a step that can be recorded.
  void step(const ResNet& network, const Tensor& rate);

  const std::map<std::string, Tensor>& velocities() const { return velocities_; }
  void set_velocity(const std::string& name, Tensor velocity) { velocities_[name] = std::move(velocity); }
  /// Forgets the velocities of parameters that `network` no longer has.
  void keep_only(const ResNet& network);

 private:
  void step(const ResNet& network, SgdStep step);

  SgdOptions options_;
  std::map<std::string, Tensor> velocities_;
};

}  // namespace stagewise
