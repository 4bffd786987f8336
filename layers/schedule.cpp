#include "layers/schedule.h"

#include <cmath>
#include <numbers>

#include "tensor/enum_names.h"

namespace stagewise {

std::string name_of(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::one_cycle: return "one-cycle";
    case ScheduleKind::cosine: return "cosine";
    case ScheduleKind::step: return "step";
    case ScheduleKind::constant: return "constant";
  }
  return "?";
}

ScheduleKind schedule_kind_from(const std::string& name) {
  return enum_from_name("schedule", name,
                        {ScheduleKind::one_cycle, ScheduleKind::cosine, ScheduleKind::step, ScheduleKind::constant});
}

double Schedule::at(std::int64_t step, std::int64_t steps) const {
  require(step >= 0 && step < steps, "[schedule] expected a step from 0 to ", steps - 1, ", got ", step);
  require(warm_up >= 0.0 && warm_up <= 1.0, "[schedule] expected a warm-up share from 0 to 1, got ", warm_up);
  const double now = static_cast<double>(step) / static_cast<double>(steps);
  if (kind == ScheduleKind::constant) return peak;
  if (kind == ScheduleKind::step) return now < 0.5 ? peak : now < 0.75 ? peak * 0.1 : peak * 0.01;
  if (now < warm_up) return peak * (0.1 + 0.9 * now / warm_up);
  const double fall = (now - warm_up) / (1.0 - warm_up);
  if (kind == ScheduleKind::cosine) return peak * 0.5 * (1.0 + std::cos(std::numbers::pi * fall));
  return peak * (1.0 - fall);
}

}  // namespace stagewise
