#include "layers/weight_average.h"

#include <set>
#include <vector>

namespace stagewise {

namespace {

void visit_parameters(const Network& network, const std::function<void(const std::string&, const Tensor&)>& visit) {
  network.visit({.parameter = [&](const std::string& name, const Variable& parameter, bool /*decays*/) {
    visit(name, parameter.value());
  }});
}

void check(const std::string& name, const Tensor& average, const Tensor& value) {
  require(average.shape() == value.shape() && average.dtype() == value.dtype(), "[weight average] expected an average ",
          value.shape(), " of ", name_of(value.dtype()), " for ", name, ", got ", average.shape(), " of ",
          name_of(average.dtype()));
}

}  // namespace

WeightAverage::WeightAverage(double decay) : decay_(decay) {
  require(decay >= 0.0 && decay < 1.0, "[weight average] expected a decay of at least 0 and less than 1, got ", decay);
}

void WeightAverage::step(const Network& network) {
  std::vector<AverageStep::Parameter> parameters;
  std::set<std::string> names;
  visit_parameters(network, [&](const std::string& name, const Tensor& value) {
    names.insert(name);
    Tensor& average = averages_[name];
    if (!average.defined()) {
      average = value.clone();
      return;
    }
    check(name, average, value);
    parameters.push_back({average, value});
  });
  std::erase_if(averages_, [&](const auto& entry) { return !names.contains(entry.first); });
  network.backend().average_step({.parameters = parameters, .decay = decay_});
}

void WeightAverage::exchange(Network& network) {
  visit_parameters(network, [&](const std::string& name, const Tensor& value) {
    const auto found = averages_.find(name);
    require(found != averages_.end(), "[weight average] ", name, " has no average: no step has seen it");
    check(name, found->second, value);
  });
  visit_parameters(network, [&](const std::string& name, const Tensor& value) {
    const Tensor& average = averages_.at(name);
    const Tensor kept = value.clone();  // one at a time: the allocator gives the same memory again
    network.backend().copy(average, value);
    network.backend().copy(kept, average);
  });
}

}  // namespace stagewise
