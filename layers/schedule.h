// The learning rate over a training: a pure function of how far it has come.
#pragma once

#include <string>

namespace stagewise {

///  one_cycle  linear from a tenth of the peak to the peak over the first `warm_up` of the training, the peak, then
///             linear to zero over the last `decay` of it (after Smith and Topin 2018; with a plateau between the two, the
///             trapezoid of Zhai et al. 2022)
///  cosine     linear warm-up likewise, then half a cosine to zero (Loshchilov and Hutter 2017)
///  step       the peak, a tenth of it from half of the training, a hundredth from three quarters (He et al. 2016)
///  constant   the peak
enum class ScheduleKind { one_cycle, cosine, step, constant };

std::string name_of(ScheduleKind kind);
/// `one-cycle`, `cosine`, `step` or `constant`. Errors: throws Error for any other name.
ScheduleKind schedule_kind_from(const std::string& name);

struct Schedule {
  ScheduleKind kind = ScheduleKind::one_cycle;
  double peak = 0.4;
  double warm_up = 0.25;  // share of the training, one_cycle and cosine
  double decay = 0.75;    // share of the training, one_cycle; no more than the warm-up leaves

  /// The learning rate when the share `now`, from 0 to 1, of the training is done. Errors: throws Error for a share out
  /// of bounds.
  double at(double now) const;
};

}  // namespace stagewise
