// What a layer owns, seen from outside: parameters, which learn, and buffers, which are kept with them.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "autograd/tape.h"

namespace stagewise {

/// Called once for each tensor a module owns, in a fixed order. Names are stable: growing a network gives no tensor
/// another name.
struct Visitor {
  /// `decays`: whether weight decay applies (filters and linear weights; not biases and batch norms).
  std::function<void(const std::string& name, const Variable& parameter, bool decays)> parameter;
  /// A tensor that is saved but not trained: a running statistic.
  std::function<void(const std::string& name, const Tensor& buffer)> buffer = [](const std::string&, const Tensor&) {};
};

/// All tensors, parameters' values and buffers, by name, of what `visit` visits.
std::map<std::string, Tensor> tensors_of(const std::function<void(const Visitor&)>& visit);

/// Overwrites `to` with the values of `from`, of the same shape; they may differ in type and backend.
void copy_values(const Tensor& from, const Tensor& to);

}  // namespace stagewise
