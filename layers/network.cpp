#include "layers/network.h"

#include <algorithm>
#include <cmath>

#include "autograd/op.h"

namespace stagewise {

namespace {

BatchNormParameters make_batch_norm(const Initialiser& initialiser, std::int64_t channels, double epsilon) {
  const Shape shape{channels};
  BatchNormParameters batch_norm;
  batch_norm.weight = Variable(initialiser.full(shape, 1.0), true);
  batch_norm.bias = Variable(initialiser.full(shape, 0.0), true);
  batch_norm.running_mean = initialiser.full(shape, 0.0);
  batch_norm.running_variance = initialiser.full(shape, 1.0);
  batch_norm.epsilon = epsilon;
  return batch_norm;
}

ConvolutionParameters make_parameters(const Initialiser& initialiser, const Convolution& convolution) {
  const std::int64_t channels = convolution.filter[0];
  ConvolutionParameters parameters;
  parameters.weight = Variable(initialiser.he_normal(convolution.name + ".weight", convolution.filter), true);
  if (convolution.bias) parameters.bias = Variable(initialiser.full({channels}, 0.0), true);
  parameters.options = convolution.options;
  if (convolution.batch_norm.empty()) return parameters;
  parameters.batch_norm = make_batch_norm(initialiser, channels, convolution.epsilon);
  return parameters;
}

void visit_batch_norm(const std::string& name, const BatchNormParameters& parameters, const Visitor& visitor) {
  visitor.parameter(name + ".weight", parameters.weight, false);
  visitor.parameter(name + ".bias", parameters.bias, false);
  visitor.buffer(name + ".running_mean", parameters.running_mean);
  visitor.buffer(name + ".running_variance", parameters.running_variance);
}

void visit_convolution(const Convolution& convolution, const ConvolutionParameters& parameters,
                       const Visitor& visitor) {
  visitor.parameter(convolution.name + ".weight", parameters.weight, true);
  if (convolution.bias) visitor.parameter(convolution.name + ".bias", parameters.bias, false);
  if (!convolution.batch_norm.empty()) visit_batch_norm(convolution.batch_norm, parameters.batch_norm, visitor);
}

/// Of the batch norm and the convolutions of a node.
void visit_node(const Node& node, const Network& network, const Visitor& visitor) {
  if (const BatchNorm* const one = batch_norm_of(node))
    visit_batch_norm(one->name, network.batch_norm(one->name), visitor);
  for (const Convolution* const one : convolutions_of(node)) {
    visit_convolution(*one, network.convolution(one->name), visitor);
  }
}

std::map<std::string, Tensor> tensors_of_block(const Node& block, const Network& network) {
  return tensors_of([&](const Visitor& visitor) { visit_node(block, network, visitor); });
}

/// Copies all tensors of `from` to `to`; nothing where a name or a shape differs, as behind a block with a projection.
void copy_block(const Node& from, const Node& to, const Network& network) {
  const std::map<std::string, Tensor> source = tensors_of_block(from, network), target = tensors_of_block(to, network);
  const auto alike = [&](const auto& a, const auto& b) {
    return a.first.substr(from.name.size()) == b.first.substr(to.name.size()) && a.second.shape() == b.second.shape();
  };
  if (!std::equal(source.begin(), source.end(), target.begin(), target.end(), alike)) return;
  for (const auto& [name, tensor] : source) copy_values(tensor, target.at(to.name + name.substr(from.name.size())));
}

}  // namespace

Network::Network(Backend& backend, const Architecture& architecture, std::uint64_t seed, DType dtype)
    : backend_(&backend), seed_(seed), dtype_(dtype), initialiser_(backend, dtype, seed), architecture_(architecture) {
  architecture.check();
  require(backend.supports(dtype) && dtype == parameter_type(dtype), "[network] expected a type that backend `",
          backend.name(), "` computes with, got ", name_of(dtype));
  derive();
  const std::int64_t width = architecture.stage_channels(architecture.stages.size() - 1);
  const double bound = 1.0 / std::sqrt(static_cast<double>(width));
  classifier_weight_ = Variable(initialiser_.uniform("classifier.weight", {architecture.classes, width}, bound), true);
  classifier_bias_ = Variable(initialiser_.uniform("classifier.bias", {architecture.classes}, bound), true);
}

void Network::derive_active() {
  active_architecture_ = architecture_;
  for (std::size_t stage = 0; stage < architecture_.stages.size(); ++stage) {
    std::erase_if(active_architecture_.stages[stage].blocks,
                  [&](std::int64_t number) { return skipped_.contains(block_name(stage, number)); });
    active_architecture_.stages[stage].given_away = architecture_.stages[stage].next_number();
  }
  active_graph_ = graph_of(active_architecture_);
}

void Network::derive() {
  graph_ = graph_of(architecture_);
  derive_active();
  std::set<std::string> names;
  for (const Node& node : graph_.nodes) {
    if (const BatchNorm* const one = batch_norm_of(node)) {
      names.insert(one->name);
      if (!batch_norms_.contains(one->name)) {
        batch_norms_[one->name] = make_batch_norm(initialiser_, one->channels, one->epsilon);
      }
    }
    for (const Convolution* const convolution : convolutions_of(node)) {
      names.insert(convolution->name);
      if (convolutions_.contains(convolution->name)) continue;
      convolutions_[convolution->name] = make_parameters(initialiser_, *convolution);
    }
  }
  const auto gone = [&](const auto& entry) { return !names.contains(entry.first); };
  std::erase_if(convolutions_, gone);
  std::erase_if(batch_norms_, gone);
}

const ConvolutionParameters& Network::convolution(const std::string& name) const {
  const auto found = convolutions_.find(name);
  require(found != convolutions_.end(), "[network] there is no convolution `", name, "`");
  return found->second;
}

const BatchNormParameters& Network::batch_norm(const std::string& name) const {
  const auto found = batch_norms_.find(name);
  require(found != batch_norms_.end(), "[network] there is no batch norm `", name, "` behind no convolution");
  return found->second;
}

Network::Convolutions Network::prepared_convolutions(DType maps) const {
  std::vector<std::string> names;
  std::vector<Tensor> weights;
  Convolutions by_name;
  for (const Node& node : active_graph_.nodes) {
    for (const Convolution* const one : convolutions_of(node)) {
      by_name[one->name] = convolution(one->name);
      names.push_back(one->name);
      weights.push_back(by_name[one->name].weight.value());
    }
  }
  const std::vector<Tensor> prepared = backend_->prepare_filters(weights, maps);
  for (std::size_t i = 0; i < prepared.size(); ++i) by_name[names[i]].prepared = prepared[i];
  return by_name;
}

ResidualBlockParameters Network::parameters(const ResidualBlockNode& block, const Convolutions& convolutions) const {
  ResidualBlockParameters parameters{.conv1 = convolutions.at(block.conv1.name),
                                     .conv2 = convolutions.at(block.conv2.name)};
  if (block.conv3) parameters.conv3 = convolutions.at(block.conv3->name);
  if (block.projection) parameters.projection = convolutions.at(block.projection->name);
  if (block.padding) {
    parameters.padding = {.stride = block.padding->stride,
                          .zeros_before = block.padding->zeros_before,
                          .channels = block.branch().back()->output[3]};
  }
  if (block.pre_activation) parameters.pre_activation = batch_norm(block.pre_activation->name);
  return parameters;
}

Variable Network::forward(const Context& context, const Variable& x) { return walk(context, x, nullptr); }

Tensor Network::evaluate(const Tensor& x, std::vector<Tensor>* stage_sums) const {
  return walk(Context{}, Variable(x), stage_sums).value();
}

Variable Network::walk(const Context& context, const Variable& x, std::vector<Tensor>* stage_sums) const {
  const Shape& image = graph_.input;
  expect_shape("network", "images", value_or_none(x), {"N", image[1], image[2], image[3]});
  const std::vector<std::size_t>& ends = active_graph_.stage_ends;
  if (stage_sums != nullptr) stage_sums->assign(ends.size(), Tensor());
  const Convolutions convolutions = prepared_convolutions(x.value().dtype());
  Variable value = x;
  std::size_t stage = 0;
  for (std::size_t index = 0; index < active_graph_.nodes.size(); ++index) {
    const bool last_of_stage = stage < ends.size() && index == ends[stage];
    Tensor* const sum = last_of_stage && stage_sums != nullptr ? &(*stage_sums)[stage] : nullptr;
    value = run(context, active_graph_.nodes[index], convolutions, value, sum);
    if (last_of_stage) ++stage;
  }
  return value;
}

Variable Network::run(const Context& context, const Node& node, const Convolutions& convolutions, const Variable& x,
                      Tensor* sum) const {
  const ByKind by_kind{
      [&](const StemNode& stem) {
        const ConvolutionParameters& of = convolutions.at(stem.convolution.name);
        const Variable y = conv2d(context, x, of.weight, of.bias, of.options, of.prepared);
        return stem.convolution.batch_norm.empty() ? y : stagewise::batch_norm(context, y, of.batch_norm, true);
      },
      [&](const MaxPoolNode& pool) { return max_pool(context, x, pool.window, pool.options); },
      [&](const ResidualBlockNode& block) {
        const ResidualBlockParameters of = parameters(block, convolutions);
        const Variable output = block.pre_activation ? pre_activation_block(context, x, of)
                                                     : residual_block(context, x, of, sum == nullptr);
        if (sum == nullptr) return output;
        *sum = output.value();
        return block.pre_activation ? output : relu(context, output);
      },
      [&](const BatchNormNode& end) {
        return stagewise::batch_norm(context, x, batch_norm(end.batch_norm.name), true);
      },
      [&](const GlobalAveragePoolNode&) { return global_average_pool(context, x); },
      [&](const LinearNode&) { return linear(context, x, classifier_weight_, classifier_bias_); },
  };
  return std::visit(by_kind, node.kind);
}

namespace {

/// The convolution that the block's last batch norm is behind.
const Convolution& last_normalised(const ResidualBlockNode& block) {
  const std::vector<const Convolution*> branch = block.branch();
  return *branch[branch.size() - (block.pre_activation ? 2 : 1)];
}

}  // namespace

/// Makes a block the identity. With a last weight of 0 in front of a ReLU, as in pre-activation, nothing would ever learn:
/// its derivative at 0 is 0. There the last filter is 0.
void Network::close(const ResidualBlockNode& block) const {
  if (block.pre_activation) {
    backend_->fill(convolution(block.branch().back()->name).weight.value(), 0.0);
    return;
  }
  const BatchNormParameters& last = convolution(last_normalised(block).name).batch_norm;
  for (const Variable& parameter : {last.weight, last.bias}) backend_->fill(parameter.value(), 0.0);
}

std::int64_t Network::insert(std::size_t stage, std::int64_t index, BlockInitialiser initialiser) {
  const std::int64_t number = architecture_.insert(stage, index);
  derive();
  const auto node_of = [&](std::int64_t block) -> const Node& {
    return *std::find_if(graph_.nodes.begin(), graph_.nodes.end(),
                         [&](const Node& node) { return node.name == block_name(stage, block); });
  };
  const Node &node = node_of(number),
             &before = node_of(architecture_.stages[stage].blocks[static_cast<std::size_t>(index - 1)]);
  const ResidualBlockNode& block = std::get<ResidualBlockNode>(node.kind);
  const bool copies = initialiser == BlockInitialiser::copy || initialiser == BlockInitialiser::copy_zero;
  const bool closes = initialiser == BlockInitialiser::zero_gamma || initialiser == BlockInitialiser::copy_zero;
  if (copies) copy_block(before, node, *this);
  if (closes) close(block);
  if (initialiser == BlockInitialiser::gaussian_bn) {
    const Convolution& last = last_normalised(block);
    const BatchNormParameters& batch_norm = convolution(last.name).batch_norm;
    batch_norm.weight.set_value(initialiser_.normal(last.batch_norm + ".weight", batch_norm.weight.shape()));
    batch_norm.bias.set_value(initialiser_.normal(last.batch_norm + ".bias", batch_norm.bias.shape()));
  }
  return number;
}

void Network::remove(std::size_t stage, std::int64_t number) {
  architecture_.remove(stage, number);
  skipped_.erase(block_name(stage, number));
  derive();
}

void Network::skip(std::size_t stage, std::int64_t number, bool skipped) {
  architecture_.check_removable(stage, number);
  const std::string name = block_name(stage, number);
  if (skipped == skipped_.contains(name)) return;
  if (skipped) {
    skipped_.insert(name);
  } else {
    skipped_.erase(name);
  }
  derive_active();
}

void Network::visit(const Visitor& visitor) const {
  for (const Node& node : graph_.nodes) {
    visit_node(node, *this, visitor);
    if (!std::holds_alternative<LinearNode>(node.kind)) continue;
    visitor.parameter(node.name + ".weight", classifier_weight_, true);
    visitor.parameter(node.name + ".bias", classifier_bias_, false);
  }
}

std::map<std::string, Tensor> Network::tensors() const {
  return stagewise::tensors_of([this](const Visitor& visitor) { visit(visitor); });
}

std::unique_ptr<Network> Network::clone() const {
  auto copy = std::make_unique<Network>(*backend_, architecture_, seed_, dtype_);
  copy->copy_from(*this);
  return copy;
}

void Network::copy_from(const Network& other) {
  const std::map<std::string, Tensor> source = other.tensors();
  for (const auto& [name, tensor] : tensors()) {
    const auto found = source.find(name);
    if (found != source.end() && found->second.shape() == tensor.shape()) copy_values(found->second, tensor);
  }
}

}  // namespace stagewise
