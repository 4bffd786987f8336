// Reverse-mode automatic differentiation with an eager tape: an op computes its result at once and records how to go
// back; backward() walks the records once, last to first, and frees each as it goes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tensor/backend.h"

namespace stagewise {

/// Where a variable came from, if it is relu(batch_norm(y) + more): on the way back its gradient will first be zeroed
/// where the ReLU was off, and the batch norm's gradients gathered. An op that computes the gradient may do both as it
/// writes (ConvolutionBackwardData) and leave `gradients` here.
struct BatchNormRelu {
  Tensor y;
  BatchNormCoefficients batch_norm;
  BatchNormGradients gradients;  // undefined where that has not been done to all of the gradient
};

/// Mean and biased variance [C] of a value [N,H,W,C] over N, H and W.
struct ChannelMoments {
  Tensor mean, variance;
  bool defined() const { return mean.defined(); }
};

/// A tensor that may want a gradient. Copies share value and gradient.
class Variable {
 public:
  /// No variable: defined() is false.
  Variable() = default;
  explicit Variable(Tensor value, bool requires_grad = false);

  bool defined() const { return state_ != nullptr; }
  const Tensor& value() const { return state_->value; }
  const Shape& shape() const { return state_->value.shape(); }
  /// The gradient that has come in so far; undefined before any has.
  const Tensor& grad() const { return state_->grad; }
  bool requires_grad() const { return state_ != nullptr && state_->requires_grad; }

  void set_value(Tensor value) const {
    state_->value = std::move(value);
    state_->moments = {};
  }
  /// Adds `gradient` to grad(); the first to come is kept as it is, without a copy, so the caller must not use it on.
  void accumulate_grad(Tensor gradient) const;
  /// Hands over grad() and leaves it undefined.
  Tensor take_grad() const { return std::exchange(state_->grad, Tensor()); }
  void clear_grad() const { state_->grad = Tensor(); }

  /// nullptr where there is nothing to do ahead.
  BatchNormRelu* origin() const { return state_ == nullptr ? nullptr : state_->origin.get(); }
  void set_origin(BatchNormRelu origin) const { state_->origin = std::make_unique<BatchNormRelu>(std::move(origin)); }

  /// The value's moments, where the op that computed it in training gathered them as it wrote; else undefined.
  const ChannelMoments& moments() const { return state_->moments; }
  void set_moments(ChannelMoments moments) const { state_->moments = std::move(moments); }

 private:
  struct State {
    Tensor value, grad;
    bool requires_grad = false;
    std::unique_ptr<BatchNormRelu> origin = nullptr;
    ChannelMoments moments = {};
  };
  std::shared_ptr<State> state_;
};

class Tape {
 public:
  /// Records one op. `backward` reads the output's gradient and accumulates its inputs'.
  void record(const char* op, std::function<void()> backward);
  /// Gives `loss` ([1]) the gradient 1 and walks back. Errors: throws Error when loss has more than one element.
  void backward(const Variable& loss);
  /// Walks back from gradients that the caller has put in place.
  void backward();
  std::size_t size() const { return records_.size(); }
  /// The ops recorded, first to last.
  std::vector<std::string> ops() const;

 private:
  struct Record {
    const char* op;
    std::function<void()> backward;
  };
  std::vector<Record> records_;
};

/// How a forward pass is run. With a tape, ops record themselves; `training` makes batch norms use the batch's own
/// statistics and update the running ones, by `statistics_momentum` where it is given in place of the layers' own.
struct Context {
  Tape* tape = nullptr;
  bool training = false;
  std::optional<double> statistics_momentum = {};
};

}  // namespace stagewise
