// The learning rate over a training: a pure function of how far it has come.
#pragma once

#include <cstdint>
#include <string>

namespace stagewise {

///  one_cycle  linear from a tenth of the peak to the peak over `warm_up` of the steps, then linear to zero
///             (after Smith and Topin 2018)
///  cosine     linear warm-up likewise, then half a cosine to zero (Loshchilov and Hutter 2017)
///  step       the peak, a tenth of it from half of the steps, a hundredth from three quarters (He et al. 2016)
///  constant   the peak
enum class ScheduleKind { one_cycle, cosine, step, constant };

std::string name_of(ScheduleKind kind);
/// `one-cycle`, `cosine`, `step` or `constant`. Errors: throws Error for any other name.
ScheduleKind schedule_kind_from(const std::string& name);

struct Schedule {
  ScheduleKind kind = ScheduleKind::one_cycle;
  double peak = 0.4;
  double warm_up = 0.25;  // share of the steps, one_cycle and cosine

  /// The learning rate of step `step` of `steps` (0-based).
  double at(std::int64_t step, std::int64_t steps) const;
};

}  // namespace stagewise
