// What a network costs, from its graph alone.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/graph.h"

namespace stagewise {

/// Parameters, and multiply-accumulates of the convolutions and the classifier for one image.
struct Cost {
  std::int64_t trainable = 0;           // what learns
  std::int64_t running_statistics = 0;  // batch norms' means and variances
  std::int64_t macs = 0;
  /// Keras's and the paper's count.
  std::int64_t parameters() const { return trainable + running_statistics; }
  Cost& operator+=(const Cost& other);
};

Cost cost_of(const Node& node);

struct NetworkCost {
  Cost stem, classifier;
  std::vector<Cost> stages;
  Cost total() const;
};

NetworkCost cost_of(const Architecture& architecture);

/// Convolutions of a network that are alike but for their names.
struct ConvolutionCount {
  Convolution convolution;
  std::int64_t count = 1;
};

/// All convolutions, in the order of the nodes.
std::vector<ConvolutionCount> distinct_convolutions(const Architecture& architecture);

}  // namespace stagewise
