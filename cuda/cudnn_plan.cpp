#include "cuda/cudnn_plan.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "cuda/check.h"

namespace stagewise::cudnn {

Target Target::described(std::string_view json) {
  Target target;
  target.properties_ = Descriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  target.properties_.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::span<const char>(json));
  target.properties_.finalise("a described device");
  return target;
}

void Target::describe(Descriptor& plan) const {
  if (handle_ != nullptr) {
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle_);
  } else {
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties_);
  }
}

Plan::Plan(const std::string& serialised, const Target& target) : plan_(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
  target.describe(plan_);
  plan_.set(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, std::span<const char>(serialised));
  plan_.finalise("a serialised plan");
  workspace_bytes_ = static_cast<std::size_t>(plan_.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
}

std::string Plan::settings() const {
  const nlohmann::json plan = nlohmann::json::parse(serialised(), nullptr, /*allow_exceptions=*/false);
  const auto choices = nlohmann::json::json_pointer("/engine/knobChoices");
  std::string text;
  if (plan.is_discarded() || !plan.contains(choices)) return text;
  const std::string prefix = "CUDNN_KNOB_TYPE_";
  for (const auto& [name, value] : plan.at(choices).items()) {
    const std::string knob = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
    text += concat(text.empty() ? "" : ", ", knob, " ", value.dump());
  }
  return text;
}

bool Plan::has(cudnnBackendNumericalNote_t note) const {
  return std::find(notes_.begin(), notes_.end(), note) != notes_.end();
}

std::string Plan::description() const {
  std::string notes;
  const auto add = [&](cudnnBackendNumericalNote_t note, const char* name) {
    if (has(note)) notes += (notes.empty() ? "" : ", ") + std::string(name);
  };
  add(CUDNN_NUMERICAL_NOTE_TENSOR_CORE, "tensor cores");
  add(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS, "inputs rounded");
  add(CUDNN_NUMERICAL_NOTE_WINOGRAD, "Winograd");
  add(CUDNN_NUMERICAL_NOTE_FFT, "FFT");
  add(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, "not deterministic");
  return concat("engine ", engine_, notes.empty() ? "" : " (" + notes + ")");
}

void Plan::run(cudnnHandle_t handle, std::span<const std::pair<TensorId, void*>> addresses, void* workspace) const {
  std::vector<TensorId> ids;
  std::vector<void*> pointers;
  for (const auto& [id, address] : addresses) ids.push_back(id), pointers.push_back(address);
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::span<const TensorId>(ids));
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, std::span<void* const>(pointers));
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace);
  pack.finalise("the addresses of a plan's tensors");
  STAGEWISE_CHECK(cudnnBackendExecute(handle, plan_.get(), pack.get()));
}

/// The search for a plan: asks the heuristics for engines and takes the first that is within the limits.
class PlanSearch {
 public:
  PlanSearch(const Target& target, const PlanLimits& limits) : target_(target), limits_(limits) {}

  /// Calls `take` with each plan within the limits until it returns true.
  void each(const Graph& graph, const std::function<bool(Plan)>& take) {
    Descriptor operations(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    operations.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, std::span<const Descriptor>(graph.operations()));
    if (target_.handle() != nullptr) operations.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target_.handle());
    if (!operations.try_finalise(&last_words_)) return;
    for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      for (const Descriptor& configuration : proposals(operations, mode)) {
        std::optional<Plan> plan = try_configuration(configuration);
        if (plan && take(std::move(*plan))) return;
      }
    }
  }

  /// What became of the engines, where none was taken.
  std::string refusals() const {
    const int all = inexact_ + not_deterministic_ + compiled_ + too_large_ + refused_;
    if (all == 0) return last_words_.empty() ? "cuDNN proposes no engine" : last_words_;
    std::string list;
    const auto add = [&](int count, const char* reason) {
      if (count > 0) list += concat(list.empty() ? "" : ", ", count, " ", reason);
    };
    add(inexact_, "not exact enough");
    add(not_deterministic_, "not deterministic");
    add(compiled_, "to be compiled, for sizes that come seldom");
    add(too_large_, "beyond the workspace");
    add(refused_, "refused");
    return concat("of ", all, " proposals ", list, last_words_.empty() ? "" : " (" + last_words_ + ")");
  }

 private:
  std::vector<Descriptor> proposals(const Descriptor& operations, cudnnBackendHeurMode_t mode) {
    Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, operations);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
    if (target_.handle() == nullptr) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, target_.properties());
    if (!heuristics.try_finalise(&last_words_)) return {};
    std::vector<Descriptor> found;
    for (auto count = heuristics.get_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, {}); count > 0; --count) {
      found.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    }
    found.resize(static_cast<std::size_t>(heuristics.get_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, found)));
    return found;
  }

  std::optional<Plan> try_configuration(const Descriptor& configuration) {
    Plan plan;
    plan.configuration_ = configuration;
    const Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    configuration.get_descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, std::span(&engine, 1));
    plan.engine_ = engine.get_int64(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
    plan.notes_ = engine.get_notes(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
    if (!exact_enough(plan)) return ++inexact_, std::nullopt;
    if (limits_.deterministic && plan.has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) {
      return ++not_deterministic_, std::nullopt;
    }
    plan.compiled_ = engine.has_behaviour(CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION);
    if (plan.compiled_ && !limits_.compiled) return ++compiled_, std::nullopt;
    plan.plan_ = Descriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.plan_.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
    target_.describe(plan.plan_);
    if (!plan.plan_.try_finalise(&last_words_)) return ++refused_, std::nullopt;
    plan.workspace_bytes_ = static_cast<std::size_t>(plan.plan_.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
    if (plan.workspace_bytes_ > limits_.workspace_bytes) return ++too_large_, std::nullopt;
    return plan;
  }

  bool exact_enough(const Plan& plan) const {
    if (plan.has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION) || plan.has(CUDNN_NUMERICAL_NOTE_FFT)) return false;
    if (plan.has(CUDNN_NUMERICAL_NOTE_WINOGRAD) && !limits_.winograd) return false;
    const bool rounds =
        plan.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE) || plan.has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS);
    return limits_.round_operands || !rounds;
  }

  const Target& target_;
  const PlanLimits& limits_;
  int inexact_ = 0, not_deterministic_ = 0, compiled_ = 0, too_large_ = 0, refused_ = 0;
  std::string last_words_;
};

std::optional<Plan> make_plan(const Graph& graph, const Target& target, const PlanLimits& limits, std::string* why) {
  PlanSearch search(target, limits);
  std::optional<Plan> first;
  search.each(graph, [&](Plan plan) {
    first = std::move(plan);
    return true;
  });
  if (!first) *why = search.refusals();
  return first;
}

std::vector<Plan> make_plans(const Graph& graph, const Target& target, const PlanLimits& limits) {
  std::vector<Plan> plans;
  std::set<std::string> seen;
  PlanSearch(target, limits).each(graph, [&](Plan plan) {
    if (seen.insert(plan.description() + plan.settings()).second) plans.push_back(std::move(plan));
    return false;
  });
  return plans;
}

}  // namespace stagewise::cudnn
