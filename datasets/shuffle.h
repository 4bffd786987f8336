// Random orders.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "tensor/random.h"

namespace stagewise {

/// Puts `values` into an order drawn uniformly from all of them (Fisher and Yates), which depends on `random` alone.
inline void shuffle(std::vector<std::int32_t>& values, const Random& random) {
  for (std::size_t last = values.size(); last > 1; --last) {
    std::swap(values[last - 1], values[random.below(last, last)]);
  }
}

}  // namespace stagewise
