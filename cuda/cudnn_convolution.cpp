#include "cuda/cudnn_convolution.h"

#include <algorithm>

#include "cuda/check.h"
#include "cuda/filter_gradient.h"

namespace stagewise::cuda {
namespace {

using Direction = ConvolutionGraph::Direction;

/// The tensors of a graph by their part in it; by data and by weights, x and y stand for dx and dy, weight for
/// d_weight.
enum Part : cudnn::TensorId { kX, kWeight, kY, kBias, kAddend, kMean, kScale, kShift };

/// relu((x - mean) * scale + shift), rounded to x's type as the tensor cores want it.
cudnn::TensorId normalised(cudnn::Graph& graph, const ConvolutionGraph& what, cudnn::TensorId x) {
  const std::int64_t channels = what.x.back();
  const auto centred = graph.intermediate(what.x), scaled = graph.intermediate(what.x);
  const auto shifted = graph.intermediate(what.x), a = graph.intermediate(what.x, what.maps);
  graph.pointwise(CUDNN_POINTWISE_SUB, x, graph.per_channel(kMean, channels), centred);
  graph.pointwise(CUDNN_POINTWISE_MUL, centred, graph.per_channel(kScale, channels), scaled);
  graph.pointwise(CUDNN_POINTWISE_ADD, scaled, graph.per_channel(kShift, channels), shifted);
  graph.pointwise(CUDNN_POINTWISE_RELU_FWD, shifted, a);
  return a;
}

/// y = relu?(convolution + addend + bias): the order of cuDNN's precompiled pattern, which wants all three. Where one
/// is missing, or the bias is not of y's type, an engine is compiled for the graph.
void add_epilogue(cudnn::Graph& graph, const ConvolutionGraph& what, cudnn::TensorId sums, cudnn::TensorId y) {
  int left = int{what.addend} + int{what.bias} + int{what.relu};
  const auto next = [&] { return --left == 0 ? y : graph.intermediate(what.y); };
  if (what.addend) {
    const auto to = next();
    graph.pointwise(CUDNN_POINTWISE_ADD, sums, graph.tensor(kAddend, what.y, what.maps), to);
    sums = to;
  }
  if (what.bias) {
    const auto to = next();
    graph.pointwise(CUDNN_POINTWISE_ADD, sums, graph.per_channel(kBias, what.y.back()), to);
    sums = to;
  }
  if (what.relu) graph.pointwise(CUDNN_POINTWISE_RELU_FWD, sums, next());
}

cudnn::Graph forward_graph(const ConvolutionGraph& what) {
  cudnn::Graph graph;
  cudnn::TensorId x = graph.tensor(kX, what.x, what.maps);
  const auto weight = graph.tensor(kWeight, what.weight, what.filters), y = graph.tensor(kY, what.y, what.maps);
  if (what.normalise) x = normalised(graph, what, x);
  const bool epilogue = what.bias || what.addend || what.relu;
  const auto sums = epilogue ? graph.intermediate(what.y) : y;
  graph.convolution_forward(x, weight, sums, what.options,
                            what.add_to_output ? cudnn::Output::add : cudnn::Output::overwrite);
  if (epilogue) add_epilogue(graph, what, sums, y);
  return graph;
}

cudnn::Graph by_data_graph(const ConvolutionGraph& what) {
  cudnn::Graph graph;
  graph.convolution_backward_data(graph.tensor(kY, what.y, what.maps), graph.tensor(kWeight, what.weight, what.filters),
                                  graph.tensor(kX, what.x, what.maps), what.options,
                                  what.add_to_output ? cudnn::Output::add : cudnn::Output::overwrite);
  return graph;
}

cudnn::Graph by_weights_graph(const ConvolutionGraph& what) {
  cudnn::Graph graph;
  const auto x = graph.tensor(kX, what.x, what.maps), dy = graph.tensor(kY, what.y, what.maps);
  const auto d_weight = graph.tensor(kWeight, what.weight, what.filters);
  // No engine writes float32 from bfloat16, but those that are compiled do when it looks like a conversion behind.
  const bool convert = what.filters != what.maps;
  const auto sums = convert ? graph.intermediate(what.weight) : d_weight;
  graph.convolution_backward_weights(x, dy, sums, what.options);
  if (convert) graph.pointwise(CUDNN_POINTWISE_IDENTITY, sums, d_weight);
  return graph;
}

cudnn::Graph graph_of(const ConvolutionGraph& what) {
  switch (what.direction) {
    case Direction::forward: return forward_graph(what);
    case Direction::by_data: return by_data_graph(what);
    case Direction::by_weights: return by_weights_graph(what);
  }
  return {};
}

/// By weights, seen on an H200 with cuDNN 9.14: padding that differs before and after, and an engine compiled for
/// bfloat16 where the channels are no multiples of 8, give sums that are wrong.
bool gives_wrong_sums(const ConvolutionGraph& graph) {
  if (graph.direction != Direction::by_weights) return false;
  const bool lopsided = graph.options.padding_before != graph.options.padding_after;
  const bool compiled = graph.maps != graph.filters;
  return lopsided || (compiled && (graph.x.back() % 8 != 0 || graph.y.back() % 8 != 0));
}

cudnn::Plan restored(const std::string& name, const std::string& serialised, const cudnn::Target& target) {
  try {
    return {serialised, target};
  } catch (const Error& error) {
    fail("[plans] the plan file's plan for ", name, " can't be used, so tune again: ", error.what());
  }
}

const char* name_of(Direction direction) {
  switch (direction) {
    case Direction::forward: return "forward";
    case Direction::by_data: return "by data";
    case Direction::by_weights: return "by weights";
  }
  return "?";
}

}  // namespace

std::string ConvolutionGraph::fused() const {
  std::string parts;
  const auto add = [&](bool there, const char* name) {
    if (there) parts += concat(" + ", name);
  };
  add(normalise, "batch norm and ReLU on read");
  add(addend, "addend");
  add(add_to_output, "addend in place");
  add(bias, "bias");
  add(relu, "ReLU");
  return parts;
}

std::string ConvolutionGraph::description() const {
  return concat("convolution ", name_of(direction), fused(), ", ", x, " with ", weight, ", stride ", options.stride,
                ", ", stagewise::name_of(maps));
}

std::string ConvolutionGraph::key() const {
  const bool lopsided = options.padding_before != options.padding_after;
  return concat(name_of(direction), fused(), ", ", x, " with ", weight, " to ", y, ", stride ", options.stride,
                ", padding ", options.padding_before, lopsided ? concat(" and ", options.padding_after) : "", ", maps ",
                stagewise::name_of(maps), ", filters ", stagewise::name_of(filters));
}

bool CudnnConvolutions::seldom(const ConvolutionGraph& graph) const {
  return graph.bias || (usual_batch_ > 0 && graph.x[0] != usual_batch_);
}

cudnn::PlanLimits CudnnConvolutions::limits(const ConvolutionGraph& graph) const {
  return {.round_operands = settings_.tf32 || graph.maps != DType::float32,
          .winograd = !settings_.strict,
          .deterministic = settings_.deterministic,
          .workspace_bytes = settings_.workspace_bytes};
}

std::string CudnnConvolutions::name_in_file(const ConvolutionGraph& graph) const {
  const bool tf32 = settings_.tf32 && graph.maps == DType::float32;
  return graph.key() + (tf32 ? ", TF32" : "") + (settings_.strict ? ", no Winograd" : "");
}

std::vector<cudnn::Plan> CudnnConvolutions::candidates(const ConvolutionGraph& graph) const {
  return cudnn::make_plans(graph_of(graph), target_, limits(graph));
}

CudnnConvolutions::CachedPlan& CudnnConvolutions::cached(const ConvolutionGraph& graph) {
  const bool is_seldom = seldom(graph);
  const auto found = std::find_if(plans_.begin(), plans_.end(), [&](const CachedPlan& entry) {
    return entry.graph == graph && entry.seldom == is_seldom;
  });
  return found != plans_.end() ? *found : plans_.emplace_back(make(graph));
}

bool CudnnConvolutions::own_applies(const ConvolutionGraph& graph) const {
  return settings_.own_filter_gradient && graph.direction == Direction::by_weights &&
         filter_gradient_applies(graph.x, graph.weight, graph.options, graph.maps);
}

void CudnnConvolutions::use(const ConvolutionGraph& graph, std::optional<cudnn::Plan> plan, bool own) {
  const bool is_seldom = seldom(graph);
  std::erase_if(plans_, [&](const CachedPlan& e) { return e.graph == graph && e.seldom == is_seldom; });
  plans_.push_back({.graph = graph,
                    .seldom = is_seldom,
                    .plan = std::move(plan),
                    .own = own,
                    .why = "it goes in parts",
                    .tuned = {}});
}

CudnnConvolutions::CachedPlan CudnnConvolutions::make(const ConvolutionGraph& graph) const {
  CachedPlan entry{.graph = graph, .seldom = seldom(graph), .plan = {}, .own = false, .why = {}, .tuned = {}};
  const std::string name = name_in_file(graph);
  if (settings_.plans && settings_.plans->plans.contains(name)) {
    const TunedPlan& tuned = settings_.plans->plans.at(name);
    entry.tuned = tuned.description;
    entry.why = "by the plan file it goes in parts";
    if (tuned.engine == kCudnnEngine) entry.plan = restored(name, tuned.plan, target_);
    entry.own = tuned.engine == kOwnEngine;
    return entry;
  }
  // Wherever it can: by reckoning it takes a fifth of the time that cuDNN takes (docs/cuda.md).
  entry.own = own_applies(graph);
  if (entry.own) return entry;
  cudnn::PlanLimits allowed = limits(graph);
  allowed.compiled = !entry.seldom;
  entry.plan = cudnn::make_plan(graph_of(graph), target_, allowed, &entry.why);
  const bool last_resort = graph.bare() && graph.maps == graph.filters;  // else the caller asks for less next
  if (!entry.plan && last_resort && settings_.report) {
    settings_.report(
        concat("[cudnn] no plan for a ", graph.description(), ": our direct kernel takes it (", entry.why, ")"));
  }
  return entry;
}

const cudnn::Plan* CudnnConvolutions::plan(const ConvolutionGraph& graph, std::string* why) {
  const CachedPlan& entry = cached(graph);
  if (why != nullptr) *why = entry.why;
  return entry.plan ? &*entry.plan : nullptr;
}

bool CudnnConvolutions::run(const ConvolutionGraph& graph, Backend& backend,
                            std::vector<std::pair<cudnn::TensorId, Tensor>> tensors) {
  if (asked_ != nullptr) {
    if (std::find(asked_->begin(), asked_->end(), graph) == asked_->end()) asked_->push_back(graph);
    return false;
  }
  const cudnn::Plan* const found = plan(graph);
  if (found == nullptr) return false;
  std::vector<std::pair<cudnn::TensorId, void*>> addresses;
  for (const auto& [part, tensor] : tensors) {
    if (tensor.defined()) addresses.emplace_back(part, tensor.address());
  }
  const Tensor workspace = workspace_.of(backend, found->workspace_bytes());
  found->run(target_.handle(), addresses, workspace.address());
  return true;
}

bool CudnnConvolutions::run(const ConvolutionForward& call) {
  const bool in_place = call.addend.defined() && call.addend.address() == call.y.address();
  ConvolutionGraph graph{.direction = Direction::forward,
                         .x = call.x.shape(),
                         .weight = call.weight.shape(),
                         .y = call.y.shape(),
                         .options = call.options,
                         .maps = call.x.dtype(),
                         .filters = call.weight.dtype()};
  graph.normalise = call.input_batch_norm.defined();
  graph.bias = call.bias.defined();
  graph.relu = call.relu;
  graph.addend = call.addend.defined() && !in_place;
  graph.add_to_output = in_place;
  if (call.mean.defined()) return false;
  if (graph.normalise && (!settings_.fuse || graph.maps != DType::bfloat16)) return false;
  if (in_place && (graph.bias || graph.relu)) return false;
  return run(graph, call.x.backend(),
             {{kX, call.x},
              {kWeight, call.weight},
              {kY, call.y},
              {kBias, call.bias},
              {kAddend, in_place ? Tensor() : call.addend},
              {kMean, call.input_batch_norm.mean},
              {kScale, call.input_batch_norm.scale},
              {kShift, call.input_batch_norm.shift}});
}

bool CudnnConvolutions::run(const ConvolutionBackwardData& call) {
  const bool in_place = call.addend.defined() && call.addend.address() == call.dx.address();
  if (call.input_batch_norm.defined() || (call.addend.defined() && !in_place)) return false;
  const ConvolutionGraph graph{.direction = Direction::by_data,
                               .x = call.dx.shape(),
                               .weight = call.weight.shape(),
                               .y = call.dy.shape(),
                               .options = call.options,
                               .maps = call.dy.dtype(),
                               .filters = call.weight.dtype(),
                               .add_to_output = in_place};
  return run(graph, call.dy.backend(), {{kX, call.dx}, {kWeight, call.weight}, {kY, call.dy}});
}

bool CudnnConvolutions::run(const ConvolutionBackwardWeights& call) {
  if (call.input_batch_norm.defined() || call.output_batch_norm.defined() || call.d_bias.defined()) return false;
  const ConvolutionGraph graph{.direction = Direction::by_weights,
                               .x = call.x.shape(),
                               .weight = call.d_weight.shape(),
                               .y = call.dy.shape(),
                               .options = call.options,
                               .maps = call.x.dtype(),
                               .filters = call.d_weight.dtype()};
  if (asked_ == nullptr && own_applies(graph) && cached(graph).own) {
    cudaStream_t stream = nullptr;
    STAGEWISE_CHECK(cudnnGetStream(target_.handle(), &stream));
    filter_gradient({.x = call.x, .weight = call.d_weight, .y = call.dy, .options = call.options}, settings_.tf32,
                    stream);
    return true;
  }
  if (gives_wrong_sums(graph)) return false;
  return run(graph, call.x.backend(), {{kX, call.x}, {kWeight, call.d_weight}, {kY, call.dy}});
}

/// In bfloat16 as cuda/convolution.cpp tries it: all fused, then less; by weights, then from maps that are widened.
ConvolutionPlanText CudnnConvolutions::describe(const ConvolutionGraph& bare) {
  std::vector<ConvolutionGraph> tried;
  if (bare.direction == Direction::forward && bare.maps == DType::bfloat16 && settings_.fuse) {
    tried = {bare};
    tried[0].normalise = true;
  }
  tried.push_back(bare);
  if (bare.maps != bare.filters) {
    tried.push_back(bare);
    tried.back().maps = bare.filters;
  }
  std::string why;
  for (const ConvolutionGraph& graph : tried) {
    if (own_applies(graph) && cached(graph).own) {
      return {name_of(bare.direction), "own",
              concat(filter_gradient_description(graph.x, graph.weight, graph.options, graph.maps, settings_.tf32),
                     cached(graph).tuned.empty() ? "" : ", by the plan file")};
    }
    if (gives_wrong_sums(graph)) {
      why = "its sums by weights are wrong for such padding or channels";
      continue;
    }
    const CachedPlan& found = cached(graph);
    why = found.why;
    if (!found.plan) continue;
    const bool tuned = !found.tuned.empty();
    return {
        name_of(bare.direction), "cuDNN",
        concat(tuned ? found.tuned : found.plan->description(), graph.fused(),
               graph.maps != bare.maps ? ", from maps widened to float32, " : ", ", found.plan->workspace_bytes() >> 10,
               " KiB of workspace, ", tuned ? "by the plan file" : "first in cuDNN's order")};
  }
  return {name_of(bare.direction), "direct", "no plan of cuDNN's: " + why};
}

std::vector<ConvolutionPlanText> CudnnConvolutions::describe(const Shape& x, const Shape& weight,
                                                             const Conv2dOptions& options, DType maps) {
  std::vector<ConvolutionPlanText> texts;
  for (const Direction direction : {Direction::forward, Direction::by_data, Direction::by_weights}) {
    texts.push_back(describe(ConvolutionGraph{.direction = direction,
                                              .x = x,
                                              .weight = weight,
                                              .y = convolution_output(x, weight, options),
                                              .options = options,
                                              .maps = maps,
                                              .filters = direction == Direction::by_weights ? DType::float32 : maps}));
  }
  return texts;
}

}  // namespace stagewise::cuda
