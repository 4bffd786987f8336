// What turns gradients into steps of a network's parameters: an optimiser's state is tensors by name, so that growing a
// network leaves that of the old blocks in place, and a new block's starts anew.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "layers/network.h"

namespace stagewise {

/// sgd    with momentum (Sutskever et al. 2013 for Nesterov's form)
/// adamw  with decoupled weight decay (Loshchilov and Hutter 2019)
enum class OptimiserKind { sgd, adamw };

/// `sgd` or `adamw`. Errors: optimiser_kind_from throws Error for any other name.
std::string name_of(OptimiserKind kind);
OptimiserKind optimiser_kind_from(const std::string& name);

struct OptimiserOptions {
  OptimiserKind kind = OptimiserKind::sgd;
  double weight_decay = 5e-4;                         // on filters and linear weights only
  double momentum = 0.9;                              // sgd
  bool nesterov = true;                               // sgd
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // adamw
};

class Optimiser {
 public:
  virtual ~Optimiser() = default;

  /// One step over all parameters that have a gradient, in one call of the backend; clears the gradients.
  void step(Network& network, double learning_rate) { step(network, learning_rate, Tensor()); }
  /// The same with a learning rate on the device, float32 [1]: a step that can be recorded.
  void step(Network& network, const Tensor& rate) { step(network, 0.0, rate); }

  /// All that it keeps, as KIND.PARAMETER: `velocity.stem.conv.weight`.
  const std::map<std::string, Tensor>& state() const { return state_; }
  /// Of a checkpoint; shapes are checked when they are used.
  void set_state(const std::string& name, Tensor tensor) { state_[name] = std::move(tensor); }
  /// Which KINDs there are.
  virtual std::vector<std::string> state_kinds() const = 0;
  /// Forgets the state of parameters that `network` no longer has.
  void keep_only(const Network& network);

 protected:
  struct Parameter {
    std::string name;
    Variable variable;
    bool decays = false;
  };
  /// One step over `parameters`, all of which have a gradient. `rate` is the learning rate where it is defined.
  virtual void update(Backend& backend, const std::vector<Parameter>& parameters, double learning_rate,
                      const Tensor& rate) = 0;
  /// The state KIND.PARAMETER: of the parameter's type and `shape`, zeros at first. Errors: throws Error where what was
  /// set has another shape or type.
  Tensor state(const std::string& kind, const Parameter& parameter, const Shape& shape);

 private:
  void step(Network& network, double learning_rate, const Tensor& rate);

  std::map<std::string, Tensor> state_;
};

std::unique_ptr<Optimiser> make_optimiser(const OptimiserOptions& options = {});

}  // namespace stagewise
