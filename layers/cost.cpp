#include "layers/cost.h"

#include <algorithm>

namespace stagewise {

Cost& Cost::operator+=(const Cost& other) {
  trainable += other.trainable;
  running_statistics += other.running_statistics;
  macs += other.macs;
  return *this;
}

Cost NetworkCost::total() const {
  Cost sum = stem;
  for (const Cost& stage : stages) sum += stage;
  sum += classifier;
  return sum;
}

Cost cost_of(const Node& node) {
  Cost cost;
  for (const Convolution* const convolution : convolutions_of(node)) {
    const std::int64_t weights = convolution->filter.count(), channels = convolution->filter[0];
    const bool normalised = !convolution->batch_norm.empty();
    cost.trainable += weights + (convolution->bias ? channels : 0) + (normalised ? 2 * channels : 0);
    cost.running_statistics += normalised ? 2 * channels : 0;
    cost.macs += weights * convolution->output[1] * convolution->output[2];
  }
  if (const BatchNorm* const batch_norm = batch_norm_of(node)) {
    cost.trainable += 2 * batch_norm->channels;
    cost.running_statistics += 2 * batch_norm->channels;
  }
  if (const auto* const linear = std::get_if<LinearNode>(&node.kind)) {
    cost.trainable += (linear->inputs + 1) * linear->outputs;
    cost.macs += linear->inputs * linear->outputs;
  }
  return cost;
}

NetworkCost cost_of(const Architecture& architecture) {
  NetworkCost cost;
  cost.stages.resize(architecture.stages.size());
  for (const Node& node : graph_of(architecture).nodes) {
    const auto* const block = std::get_if<ResidualBlockNode>(&node.kind);
    Cost& part = block != nullptr                              ? cost.stages[static_cast<std::size_t>(block->stage)]
                 : std::holds_alternative<StemNode>(node.kind) ? cost.stem
                                                               : cost.classifier;
    part += cost_of(node);
  }
  return cost;
}

std::vector<ConvolutionCount> distinct_convolutions(const Architecture& architecture) {
  std::vector<ConvolutionCount> all;
  for (const Node& node : graph_of(architecture).nodes) {
    for (const Convolution* const one : convolutions_of(node)) {
      const auto same = std::find_if(all.begin(), all.end(), [&](const ConvolutionCount& other) {
        return other.convolution.input == one->input && other.convolution.filter == one->filter &&
               other.convolution.options == one->options;
      });
      if (same == all.end()) {
        all.push_back({*one});
      } else {
        ++same->count;
      }
    }
  }
  return all;
}

}  // namespace stagewise
