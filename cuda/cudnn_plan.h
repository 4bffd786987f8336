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
  /// Says in a plan that isn't finalised yet that it is for this device.
  void describe(Descriptor& plan) const;

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
  bool compiled = true;         // engines whose kernels cuDNN generates and compiles, for a second or two each
  std::size_t workspace_bytes = std::size_t{256} << 20;
};

/// A graph, an engine that runs it, and the engine's settings, made for a target.
class Plan {
 public:
  /// From serialised(), in milliseconds: what was compiled for it is in it. Errors: throws Error with cuDNN's words where
  /// it doesn't take it: another version wrote it, or it is for another device.
  Plan(const std::string& serialised, const Target& target);

  std::size_t workspace_bytes() const { return workspace_bytes_; }
  /// The engine's number and its numerical notes, for people: `engine 57 (tensor cores)`.
  std::string description() const;
  bool has(cudnnBackendNumericalNote_t note) const;
  /// Whether its kernels were compiled when it was made.
  bool compiled() const { return compiled_; }
  /// The plan as text (JSON, some with kernels in it) that Plan's constructor takes.
  std::string serialised() const { return plan_.get_text(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION); }
  /// The engine's settings: `TILE_SIZE 1, TILEK 0`; "" where cuDNN doesn't serialise the plan.
  std::string settings() const;

  /// Queues the graph's operations on the handle's stream. `addresses` has one for each tensor that is not
  /// intermediate; `workspace`, of workspace_bytes(), is free again when the stream has come past. Errors: throws Error
  /// with cuDNN's words.
  void run(cudnnHandle_t handle, std::span<const std::pair<TensorId, void*>> addresses, void* workspace) const;

 private:
  friend class PlanSearch;
  Plan() = default;
  Descriptor configuration_, plan_;  // the plan refers to its configuration, and that to the graph
  std::int64_t engine_ = 0;
  std::vector<cudnnBackendNumericalNote_t> notes_;
  bool compiled_ = false;
  std::size_t workspace_bytes_ = 0;
};

/// The first plan within the limits in the order of cuDNN's heuristics, fastest expected first. Where there is none:
/// nothing, and `why` says what became of the engines that were proposed.
std::optional<Plan> make_plan(const Graph& graph, const Target& target, const PlanLimits& limits, std::string* why);

/// All plans within the limits, each once, in the same order.
std::vector<Plan> make_plans(const Graph& graph, const Target& target, const PlanLimits& limits);

}  // namespace stagewise::cudnn
