// An exponential moving average of a network's weights (Polyak and Juditsky 1992; over time as Tarvainen and Valpola
// 2017 take it). The averaged network lies nearer the middle of the valley that the steps wander about in, and often
// answers better than the last step's.
#pragma once

#include <map>
#include <string>

#include "layers/network.h"

namespace stagewise {

/// Averages are kept by parameter name: growing a network leaves the old blocks' in place. Running statistics are not
/// averaged: they are those of the network as it was trained.
class WeightAverage {
 public:
  /// After a step an average is `decay` of what it was and 1 - decay of the parameter's value. Errors: throws Error for
  /// a decay outside of [0, 1).
  explicit WeightAverage(double decay);

  /// One step over all parameters, in one call of the backend (AverageStep, tensor/backend.h). The average of a
  /// parameter that is seen for the first time starts at its value; those of parameters that the network no longer has
  /// are forgotten. Steady steps allocate nothing on the device, so that they can be recorded. Errors: throws Error
  /// where an average's shape or type isn't its parameter's.
  void step(const Network& network);
  /// Swaps the values of the network's parameters with their averages, exactly: once to evaluate the average, once more
  /// to go on. Values stay at their addresses. Averages of parameters that the network lacks stay as they are. Errors:
  /// throws Error, and has swapped nothing, for a parameter without an average, or with one of another shape or type.
  void exchange(Network& network);

  double decay() const { return decay_; }
  const std::map<std::string, Tensor>& averages() const { return averages_; }
  void set_average(const std::string& name, Tensor average) { averages_[name] = std::move(average); }

 private:
  double decay_;
  std::map<std::string, Tensor> averages_;
};

}  // namespace stagewise
