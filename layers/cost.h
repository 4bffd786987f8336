// What a network costs, from its architecture alone.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/resnet.h"

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

struct NetworkCost {
  Cost stem, classifier;
  std::vector<Cost> stages;
  Cost total() const;
};

NetworkCost cost_of(const Architecture& architecture);

/// A convolution of a network, and how many there are of its sizes.
struct NetworkConvolution {
  Shape x, weight;  // [1,H,W,C], [K,R,S,C]
  Conv2dOptions options;
  std::int64_t count = 1;
};

/// The convolutions in the order of the forward pass, those of the same sizes once.
std::vector<NetworkConvolution> convolutions_of(const Architecture& architecture);

}  // namespace stagewise
