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

}  // namespace stagewise
