// A backend that hands every call on to another one and notes which primitives were called, with which optional fields.
#pragma once

#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include "tensor/backend.h"

namespace stagewise {

class NotingBackend final : public Backend {
 public:
  /// `inner` must outlive it, and all tensors are of this backend.
  explicit NotingBackend(Backend& inner) : inner_(inner) {}

  /// A row of the table in docs/tensor.md: a primitive, and which optional fields it was called with (`none`, or
  /// `normalise, mean`), `addend = y` where the two are one tensor.
  struct Row {
    std::string primitive, fields;
    bool operator==(const Row&) const = default;
    bool operator<(const Row& other) const {
      return std::tie(primitive, fields) < std::tie(other.primitive, other.fields);
    }
  };
  /// What was called, and in which phases; of primitives that have such fields or may work in place.
  const std::map<Row, std::set<std::string>>& rows() const { return rows_; }
  /// The names alone.
  const std::set<std::string>& primitives() const { return primitives_; }
  /// What the calls from now on are for.
  void set_phase(std::string phase) { phase_ = std::move(phase); }

  std::string name() const override { return inner_.name(); }
  std::string description() const override { return inner_.description(); }
  bool supports(DType dtype) const override { return inner_.supports(dtype); }
  CachingAllocator& allocator() override { return inner_.allocator(); }
  void copy_from_host(const void* from, const Tensor& to) override { inner_.copy_from_host(from, to); }
  void copy_to_host(const Tensor& from, void* to) override { inner_.copy_to_host(from, to); }
  void copy(const Tensor& from, const Tensor& to) override { inner_.copy(from, to); }
  void fill(const Tensor& tensor, double value) override { inner_.fill(tensor, value); }
  void synchronise() override { inner_.synchronise(); }

  void add(const Tensor& a, const Tensor& b, const Tensor& out) override {
    note("add", {{"out = a", same(out, a)}, {"out = b", same(out, b)}});
    inner_.add(a, b, out);
  }
  void relu_forward(const Tensor& x, const Tensor& y) override {
    note("relu_forward", {{"y = x", same(y, x)}});
    inner_.relu_forward(x, y);
  }
  void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) override {
    note("relu_backward", {{"dx = dy", same(dx, dy)}, {"dx = y", same(dx, y)}});
    inner_.relu_backward(dy, y, dx);
  }

  void expect_batch(std::int64_t images) override { inner_.expect_batch(images); }
  std::vector<ConvolutionPlanText> convolution_plan(const Shape& x, const Shape& weight, const Conv2dOptions& options,
                                                    DType maps) override {
    primitives_.insert("convolution_plan");
    return inner_.convolution_plan(x, weight, options, maps);
  }
  Tensor convolution_prepare(const Shape& x, const Tensor& weight, const Conv2dOptions& options) override {
    primitives_.insert("convolution_prepare");
    return inner_.convolution_prepare(x, weight, options);
  }
  std::vector<Tensor> prepare_filters(std::span<const Tensor> weights, DType maps) override {
    primitives_.insert("prepare_filters");
    return inner_.prepare_filters(weights, maps);
  }
  void convolution_forward(const ConvolutionForward& call) override {
    note("convolution_forward", {{"bias", call.bias},
                                 {"input_batch_norm", call.input_batch_norm.mean},
                                 {"mean", call.mean},
                                 {"output_batch_norm", call.output_batch_norm.weight},
                                 {"addend", call.addend, call.y, "y"},
                                 {"relu", call.relu},
                                 {"prepared", call.prepared}});
    inner_.convolution_forward(call);
  }
  void convolution_backward_data(const ConvolutionBackwardData& call) override {
    note("convolution_backward_data", {{"addend", call.addend, call.dx, "dx"},
                                       {"input_batch_norm", call.input_batch_norm.mean},
                                       {"relu_output", call.relu_output},
                                       {"prepared", call.prepared}});
    inner_.convolution_backward_data(call);
  }
  void convolution_backward_weights(const ConvolutionBackwardWeights& call) override {
    note("convolution_backward_weights", {{"input_batch_norm", call.input_batch_norm.mean},
                                          {"d_bias", call.d_bias},
                                          {"output_batch_norm", call.output_batch_norm.mean},
                                          {"dy_out = dy", same(call.dy_out, call.dy)}});
    inner_.convolution_backward_weights(call);
  }

  void batch_norm_moments(const BatchNormMoments& call) override {
    note("batch_norm_moments", {{"prepare", call.prepare.weight}});
    inner_.batch_norm_moments(call);
  }
  void batch_norm_prepare(const BatchNormPrepare& call) override {
    note("batch_norm_prepare", {{"running_mean", call.running_mean}});
    inner_.batch_norm_prepare(call);
  }
  void batch_norm_forward(const BatchNormForward& call) override {
    note("batch_norm_forward", {{"addend", call.addend},
                                {"addend_batch_norm", call.addend_batch_norm.mean},
                                {"relu", call.relu},
                                {"y = x", same(call.y, call.x)},
                                {"y = addend", same(call.y, call.addend)}});
    inner_.batch_norm_forward(call);
  }
  void batch_norm_backward_reduce(const BatchNormBackwardReduce& call) override {
    note("batch_norm_backward_reduce", {{"y", call.y}, {"dz = dy", same(call.dz, call.dy)}});
    inner_.batch_norm_backward_reduce(call);
  }
  void batch_norm_backward_data(const BatchNormBackwardData& call) override {
    note("batch_norm_backward_data", {{"dx = dz", same(call.dx, call.dz)}});
    inner_.batch_norm_backward_data(call);
  }

  void linear_forward(const LinearForward& call) override {
    note("linear_forward", {{"bias", call.bias}});
    inner_.linear_forward(call);
  }
  void linear_backward(const LinearBackward& call) override {
    note("linear_backward", {{"dx", call.dx}, {"d_weight", call.d_weight}, {"d_bias", call.d_bias}});
    inner_.linear_backward(call);
  }
  void average_pool_forward(const AveragePool& call) override {
    note("average_pool_forward", {});
    inner_.average_pool_forward(call);
  }
  void average_pool_backward(const AveragePool& call) override {
    note("average_pool_backward", {});
    inner_.average_pool_backward(call);
  }
  void max_pool_forward(const MaxPoolForward& call) override {
    note("max_pool_forward", {});
    inner_.max_pool_forward(call);
  }
  void max_pool_backward(const MaxPoolBackward& call) override {
    note("max_pool_backward", {});
    inner_.max_pool_backward(call);
  }
  void padded_shortcut_forward(const PaddedShortcut& call) override {
    note("padded_shortcut_forward", {});
    inner_.padded_shortcut_forward(call);
  }
  void padded_shortcut_backward(const PaddedShortcut& call) override {
    note("padded_shortcut_backward", {});
    inner_.padded_shortcut_backward(call);
  }

  void softmax(const Tensor& logits, const Tensor& probabilities) override {
    note("softmax", {});
    inner_.softmax(logits, probabilities);
  }
  void softmax_cross_entropy(const SoftmaxCrossEntropy& call) override {
    note("softmax_cross_entropy", {{"d_logits", call.d_logits}, {"totals", call.totals}});
    inner_.softmax_cross_entropy(call);
  }
  void sgd_step(const SgdStep& call) override {
    note("sgd_step", {{"rate", call.rate}});
    inner_.sgd_step(call);
  }
  void adamw_step(const AdamWStep& call) override {
    note("adamw_step", {{"rate", call.rate}});
    inner_.adamw_step(call);
  }
  void average_step(const AverageStep& call) override {
    note("average_step", {});
    inner_.average_step(call);
  }

  void draw_numbers(const DrawNumbers& call) override {
    note("draw_numbers", {});
    inner_.draw_numbers(call);
  }
  void draw_augmentation(const DrawAugmentation& call) override {
    note("draw_augmentation", {});
    inner_.draw_augmentation(call);
  }
  void augment(const Augment& call) override {
    note("augment", {});
    inner_.augment(call);
  }
  void accumulate_moments(const AccumulateMoments& call) override {
    note("accumulate_moments", {});
    inner_.accumulate_moments(call);
  }

 private:
  struct Field {
    std::string name;
    bool there;
    Field(const char* field, bool is_there) : name(field), there(is_there) {}
    Field(const char* field, const Tensor& tensor) : name(field), there(tensor.defined()) {}
    /// With `field = other` for a name where the two are one.
    Field(const char* field, const Tensor& tensor, const Tensor& other, const char* others_name)
        : Field(field, tensor) {
      if (same(tensor, other)) name += std::string(" = ") + others_name;
    }
  };

  static bool same(const Tensor& a, const Tensor& b) { return a.defined() && a.address() == b.address(); }

  void note(const std::string& primitive, std::initializer_list<Field> fields) {
    std::string text;
    for (const Field& field : fields) {
      if (field.there) text += (text.empty() ? "" : ", ") + field.name;
    }
    if (fields.size() > 0) rows_[{primitive, text.empty() ? "none" : text}].insert(phase_);
    primitives_.insert(primitive);
  }

  Backend& inner_;
  std::string phase_;
  std::map<Row, std::set<std::string>> rows_;
  std::set<std::string> primitives_;
};

}  // namespace stagewise
