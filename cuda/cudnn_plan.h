// Execution plans of cuDNN graphs (cuda/cudnn_graph.h): which engine runs a graph, within which limits.
//
// Plans are made for a Target: a device that is there, or one that is only described. The latter needs no GPU and no
// driver; such plans can't run, but they show that cuDNN accepts a graph on that device (tests/cudnn_plans_test.cpp).
#pragma once

#include <optional>
#include <utility>

#include "cuda/cudnn_graph.h"

namespace stagewise::cudnn {

/// The device that plans are made for.
class Target {
 public:
  /// The device of a handle, which must outlive the plans.
  explicit Target(cudnnHandle_t handle) : handle_(handle) {}
  /// A device described by the JSON text of CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION. Errors: throws Error when
  /// cuDNN doesn't understand it or no longer supports such a device.
  static Target described(std::string_view json);

  cudnnHandle_t handle() const { return handle_; }
  const Descriptor& properties() const { return properties_; }

 private:
  Target() = default;
  cudnnHandle_t handle_ = nullptr;
  Descriptor properties_;  // where there is no handle
};

/// Which plans will do.
struct PlanLimits {
  bool round_operands = false;  // to TF32's 10 bits, so that tensor cores can multiply float32
  bool winograd = true;         // its transforms multiply rounding errors
  bool deterministic = true;    // the same bits each time
  std::size_t workspace_bytes = std::size_t{256} << 20;
};

/// A graph, an engine that runs it, and the engine's settings, made for a target.
class Plan {
 public:
  std::size_t workspace_bytes() const { return workspace_bytes_; }
  /// The engine's number and its numerical notes, for people: `engine 57 (tensor cores)`.
  std::string description() const;
  bool has(cudnnBackendNumericalNote_t note) const;

  /// Queues the graph's operations on the handle's stream. `addresses` has one for each tensor that is not
  /// intermediate; `workspace`, of workspace_bytes(), is free again when the stream has come past. Errors: throws Error
  /// with cuDNN's words.
  void run(cudnnHandle_t handle, std::span<const std::pair<TensorId, void*>> addresses, void* workspace) const;

 private:
  friend class PlanSearch;
  Descriptor configuration_, plan_;  // the plan refers to its configuration, and that to the graph
  std::int64_t engine_ = 0;
  std::vector<cudnnBackendNumericalNote_t> notes_;
  std::size_t workspace_bytes_ = 0;
};

/// The first plan within the limits in the order of cuDNN's heuristics, fastest expected first. Where there is none:
/// nothing, and `why` says what became of the engines that were proposed.
std::optional<Plan> make_plan(const Graph& graph, const Target& target, const PlanLimits& limits, std::string* why);

}  // namespace stagewise::cudnn
