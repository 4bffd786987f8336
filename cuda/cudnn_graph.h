// A small wrapper over cuDNN 9's backend API. There, a computation is a graph of operations on tensors: describe the
// graph, ask the heuristics which engines suit it, make an execution plan of one of them, run the plan. This file has
// the graph, cuda/cudnn_plan.h the plan.
//
// cuDNN names axes N, C, H, W whatever the layout; ours are always stored NHWC (filters KRSC), which the strides say.
// Manual: NVIDIA cuDNN, "Backend API" and "Graph API: supported graph patterns".
#pragma once

#include <cudnn_graph.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/backend.h"

namespace stagewise::cudnn {

/// Of the library that runs: `9.19.0`.
std::string version();

/// A descriptor of the backend API: filled attribute by attribute, then finalised. Copies share it, and it keeps those
/// that it refers to.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(cudnnBackendDescriptorType_t type);

  /// Errors: throws Error with cuDNN's words when it refuses the attribute.
  template <class T>
  void set(cudnnBackendAttributeName_t name, std::span<const T> values) {
    set(name, type_of(T{}), static_cast<std::int64_t>(values.size()), values.data());
  }
  template <class T>
  void set(cudnnBackendAttributeName_t name, const T& value) {
    set(name, std::span<const T>(&value, 1));
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value);
  void set(cudnnBackendAttributeName_t name, std::span<const Descriptor> values);

  /// Errors: throws Error with `what` and cuDNN's words when it refuses the descriptor.
  void finalise(const std::string& what);
  /// The same where a refusal is an answer and no error: false, and why.
  bool try_finalise(std::string* why);

  std::int64_t get_int64(cudnnBackendAttributeName_t name) const;
  std::vector<cudnnBackendNumericalNote_t> get_notes(cudnnBackendAttributeName_t name) const;
  bool has_behaviour(cudnnBackendBehaviorNote_t note) const;  // of an engine
  /// "" where cuDNN has none.
  std::string get_text(cudnnBackendAttributeName_t name) const;
  /// Fills `descriptors`, which must have been created; returns how many there are.
  std::int64_t get_descriptors(cudnnBackendAttributeName_t name, std::span<const Descriptor> descriptors) const;

  cudnnBackendDescriptor_t get() const { return state_->handle; }

 private:
  static cudnnBackendAttributeType_t type_of(std::int64_t) { return CUDNN_TYPE_INT64; }
  static cudnnBackendAttributeType_t type_of(bool) { return CUDNN_TYPE_BOOLEAN; }
  static cudnnBackendAttributeType_t type_of(char) { return CUDNN_TYPE_CHAR; }
  static cudnnBackendAttributeType_t type_of(float) { return CUDNN_TYPE_FLOAT; }
  static cudnnBackendAttributeType_t type_of(double) { return CUDNN_TYPE_DOUBLE; }
  static cudnnBackendAttributeType_t type_of(void*) { return CUDNN_TYPE_VOID_PTR; }
  static cudnnBackendAttributeType_t type_of(cudnnHandle_t) { return CUDNN_TYPE_HANDLE; }
  static cudnnBackendAttributeType_t type_of(cudnnDataType_t) { return CUDNN_TYPE_DATA_TYPE; }
  static cudnnBackendAttributeType_t type_of(cudnnConvolutionMode_t) { return CUDNN_TYPE_CONVOLUTION_MODE; }
  static cudnnBackendAttributeType_t type_of(cudnnPointwiseMode_t) { return CUDNN_TYPE_POINTWISE_MODE; }
  static cudnnBackendAttributeType_t type_of(cudnnGenStatsMode_t) { return CUDNN_TYPE_GENSTATS_MODE; }
  static cudnnBackendAttributeType_t type_of(cudnnBackendHeurMode_t) { return CUDNN_TYPE_HEUR_MODE; }
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count, const void* values);

  struct State {
    cudnnBackendDescriptor_t handle = nullptr;
    std::vector<Descriptor> referred_to;
    State() = default;
    State(const State&) = delete;
    ~State() { cudnnBackendDestroyDescriptor(handle); }
  };
  std::shared_ptr<State> state_;
};

/// A tensor's number in its graph, chosen by the caller but for intermediate ones.
using TensorId = std::int64_t;

/// Whether a convolution overwrites its output or adds to it.
/// `overwrite` reads nothing of what the output holds, which may be uninitialised: nobody has to zero it. (Statistics,
/// whose kernels add to their sums whatever they hold, are none of the operations here.)
enum class Output { overwrite, add };

/// Operations on tensors. Sums are taken in float32 whatever the tensors' types. Errors: an operation throws Error with
/// cuDNN's words when shapes or types don't fit. That a per-channel tensor has one value for each channel we check
/// ourselves: cuDNN doesn't.
class Graph {
 public:
  /// Feature maps [N,H,W,C] or filters [K,R,S,C], of float32 or bfloat16, at addresses that are multiples of 16.
  TensorId tensor(TensorId id, const Shape& shape, DType dtype);
  /// One float32 for each channel: an operand that is repeated over all pixels, or a sum over them.
  TensorId per_channel(TensorId id, std::int64_t channels);
  /// Feature maps or filters that exist only between two operations.
  TensorId intermediate(const Shape& shape, DType dtype = DType::float32);

  void convolution_forward(TensorId x, TensorId weight, TensorId y, const Conv2dOptions& options, Output output = {});
  void convolution_backward_data(TensorId dy, TensorId weight, TensorId dx, const Conv2dOptions& options,
                                 Output output = {});
  void convolution_backward_weights(TensorId x, TensorId dy, TensorId d_weight, const Conv2dOptions& options);
  /// y = x (operation) b, with b of x's shape or per channel.
  void pointwise(cudnnPointwiseMode_t operation, TensorId x, TensorId b, TensorId y);
  /// y = operation(x); CUDNN_POINTWISE_IDENTITY converts to y's type.
  void pointwise(cudnnPointwiseMode_t operation, TensorId x, TensorId y);

  const std::vector<Descriptor>& operations() const { return operations_; }

 private:
  struct Node {
    Shape shape;
    Descriptor descriptor;
  };
  TensorId add(TensorId id, const Shape& shape, DType dtype, bool intermediate);
  const Descriptor& at(TensorId id) const { return nodes_.at(id).descriptor; }
  const Shape& shape_of(TensorId id) const { return nodes_.at(id).shape; }
  void finish(Descriptor operation, const std::string& what);
  void require_channels(const char* what, TensorId values, TensorId map) const;

  std::map<TensorId, Node> nodes_;
  std::vector<Descriptor> operations_;
};

}  // namespace stagewise::cudnn
