// The gradient of a large filter. Chunks of the batch would each go through a filter of their own for a few pixels at a
// time, and wait for memory. So the work items are parts of the filter here, small enough for L2, and each sweeps over all
// pixels. For that x and dy are laid out first, for as much of the batch as there is room.
#pragma once

#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {

/// Sums the plan's parts into `filter`, [taps, stored channels]. Parts has
///   room()                                how many of the plan's units (images, or blocks of rows of tiles) it can hold;
///   lay_out(unit, place, bias)            holds one, and adds its dy to `bias` if there is one;
///   sum(part, first, count, filter)       adds what `count` that are held, the units from `first` on, give to a part.
template <class Parts>
void sum_in_parts(ThreadPool& pool, const WeightsPlan& plan, std::int64_t images, const Parts& parts, float* filter,
                  PartialSums& bias) {
  std::fill_n(filter, plan.filter_floats, 0.0f);
  const std::int64_t units = plan.units(images);
  for (std::int64_t first = 0; first < units; first += parts.room()) {
    const std::int64_t count = std::min(parts.room(), units - first);
    pool.run(count,
             [&](std::int64_t i) { parts.lay_out(first + i, i, bias.items() > 0 ? bias.first(first + i) : nullptr); });
    pool.run(plan.parts(), [&](std::int64_t part) { parts.sum(part, first, count, filter); });
  }
}

}  // namespace stagewise::cpu
