#include "cuda/cudnn_plan.h"

#include <algorithm>

#include "cuda/check.h"

namespace stagewise::cudnn {

Target Target::described(std::string_view json) {
  Target target;
  target.properties_ = Descriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  target.properties_.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::span<const char>(json));
  target.properties_.finalise("a described device");
  return target;
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

  std::optional<Plan> find(const Graph& graph) {
    Descriptor operations(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    operations.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, std::span<const Descriptor>(graph.operations()));
    if (target_.handle() != nullptr) operations.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target_.handle());
    if (!operations.try_finalise(&last_words_)) return std::nullopt;
    for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      for (const Descriptor& configuration : proposals(operations, mode)) {
        if (std::optional<Plan> plan = try_configuration(configuration)) return plan;
      }
    }
    return std::nullopt;
  }

  /// What became of the engines, where none was taken.
  std::string refusals() const {
    const int all = inexact_ + not_deterministic_ + too_large_ + refused_;
    if (all == 0) return last_words_.empty() ? "cuDNN proposes no engine" : last_words_;
    std::string list;
    const auto add = [&](int count, const char* reason) {
      if (count > 0) list += concat(list.empty() ? "" : ", ", count, " ", reason);
    };
    add(inexact_, "not exact enough");
    add(not_deterministic_, "not deterministic");
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
    plan.plan_ = Descriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.plan_.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
    if (target_.handle() != nullptr) {
      plan.plan_.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target_.handle());
    } else {
      plan.plan_.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, target_.properties());
    }
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
  int inexact_ = 0, not_deterministic_ = 0, too_large_ = 0, refused_ = 0;
  std::string last_words_;
};

std::optional<Plan> make_plan(const Graph& graph, const Target& target, const PlanLimits& limits, std::string* why) {
  PlanSearch search(target, limits);
  std::optional<Plan> plan = search.find(graph);
  if (!plan) *why = search.refusals();
  return plan;
}

}  // namespace stagewise::cudnn
