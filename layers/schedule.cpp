#include "layers/schedule.h"

#include <algorithm>
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

double Schedule::at(double now) const {
  require(now >= 0.0 && now <= 1.0, "[schedule] expected a share of the training from 0 to 1, got ", now);
  require(warm_up >= 0.0 && warm_up <= 1.0, "[schedule] expected a warm-up share from 0 to 1, got ", warm_up);
  require(decay >= 0.0 && decay <= 1.0, "[schedule] expected a decay share from 0 to 1, got ", decay);
  if (kind == ScheduleKind::constant) return peak;
  if (kind == ScheduleKind::step) return now < 0.5 ? peak : now < 0.75 ? peak * 0.1 : peak * 0.01;
  if (now < warm_up) return peak * (0.1 + 0.9 * now / warm_up);
  if (kind == ScheduleKind::cosine) {
    return peak * 0.5 * (1.0 + std::cos(std::numbers::pi * (now - warm_up) / (1.0 - warm_up)));
  }
  const double falling = std::min(decay, 1.0 - warm_up);
  return falling == 0.0 ? peak : peak * std::min(1.0, (1.0 - now) / falling);
}

}  // namespace stagewise
