#include "layers/resnet.h"

#include <cmath>

#include "layers/convolution.h"

namespace stagewise {

ResNet::ResNet(Backend& backend, const Architecture& architecture, std::uint64_t seed, DType dtype)
    : backend_(&backend), frame_(architecture), seed_(seed), dtype_(dtype) {
  architecture.check();
  require(backend.supports(dtype) && dtype == parameter_type(dtype), "[resnet] expected a type that backend `",
          backend.name(), "` computes with, got ", name_of(dtype));
  const Initialiser initialiser(backend, dtype, seed);
  const bool paper = architecture.variant == Variant::paper;
  std::int64_t width = architecture.stages.front().width;
  ConvolutionOptions stem;
  stem.in_width = architecture.channels;
  stem.width = width;
  stem.paper = paper;
  stem_ = make_convolution(initialiser, "stem.conv", stem);
  for (const Architecture::StageBlocks& stage : architecture.stages) {
    const StageOptions options{"stages." + std::to_string(stages_.size()), width, stage.width, stages_.empty() ? 1 : 2,
                               paper};
    stages_.emplace_back(backend, options, stage.blocks, stage.next_number(), seed, dtype);
    width = stage.width;
  }
  const double bound = 1.0 / std::sqrt(static_cast<double>(width));
  classifier_weight_ = Variable(initialiser.uniform("classifier.weight", {architecture.classes, width}, bound), true);
  classifier_bias_ = Variable(initialiser.uniform("classifier.bias", {architecture.classes}, bound), true);
}

Variable ResNet::forward(const Context& context, const Variable& x, std::vector<Tensor>* stage_sums) const {
  require(x.defined() && x.shape().rank() == 4 && x.shape()[1] == frame_.height && x.shape()[2] == frame_.width &&
              x.shape()[3] == frame_.channels,
          "[resnet] expected images [N,", frame_.height, ",", frame_.width, ",", frame_.channels, "], got ",
          x.defined() ? concat(x.shape()) : "none");
  const Variable stem = conv2d(context, x, stem_.weight, stem_.bias, stem_.options);
  Variable activation = batch_norm(context, stem, stem_.batch_norm, true);
  if (stage_sums != nullptr) stage_sums->assign(stages_.size(), Tensor());
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    Tensor* const sum = stage_sums == nullptr ? nullptr : &(*stage_sums)[stage];
    activation = stages_[stage].forward(context, activation, sum);
  }
  return linear(context, global_average_pool(context, activation), classifier_weight_, classifier_bias_);
}

Architecture ResNet::architecture_of(const std::function<bool(const ResidualBlock&)>& wanted) const {
  Architecture architecture = frame_;
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    architecture.stages[stage].blocks.clear();
    architecture.stages[stage].given_away = stages_[stage].next_number();
    for (const ResidualBlock& block : stages_[stage].blocks()) {
      if (wanted(block)) architecture.stages[stage].blocks.push_back(block.number);
    }
  }
  return architecture;
}

Architecture ResNet::architecture() const {
  return architecture_of([](const ResidualBlock&) { return true; });
}

Architecture ResNet::active_architecture() const {
  return architecture_of([](const ResidualBlock& block) { return !block.skipped; });
}

void ResNet::visit(const Visitor& visitor) const {
  visit_convolution(stem_, "stem.conv", "stem.batch_norm", visitor);
  for (const Stage& stage : stages_) stage.visit(visitor);
  visitor.parameter("classifier.weight", classifier_weight_, true);
  visitor.parameter("classifier.bias", classifier_bias_, false);
}

std::map<std::string, Tensor> ResNet::tensors() const {
  return tensors_of([this](const Visitor& visitor) { visit(visitor); });
}

std::unique_ptr<ResNet> ResNet::clone() const {
  auto copy = std::make_unique<ResNet>(*backend_, architecture(), seed_, dtype_);
  copy->copy_from(*this);
  return copy;
}

void ResNet::copy_from(const ResNet& other) const {
  const std::map<std::string, Tensor> source = other.tensors();
  for (const auto& [name, tensor] : tensors()) {
    const auto found = source.find(name);
    if (found != source.end() && found->second.shape() == tensor.shape()) copy_values(found->second, tensor);
  }
}

}  // namespace stagewise
