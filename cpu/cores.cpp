#include "cpu/cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "cpu/control_group.h"

namespace stagewise::cpu {

namespace {

/// Microseconds in the file; version 1 says -1 and version 2 `max` for no limit.
double microseconds(std::istream& file) {
  double value = 0;
  return file >> value && value > 0 ? value : kNoLimit;
}

/// The cores that one group's folder allows.
double quota_in(const std::string& folder) {
  if (std::ifstream both(folder + "/cpu.max"); both) {
    const double quota = microseconds(both);
    return quota == kNoLimit ? kNoLimit : quota / microseconds(both);
  }
  std::ifstream quota(folder + "/cpu.cfs_quota_us"), period(folder + "/cpu.cfs_period_us");
  return quota && period ? microseconds(quota) / microseconds(period) : kNoLimit;
}

}  // namespace

int usable_cores(const std::string& membership, const std::string& groups) {
  cpu_set_t set;
  const int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(CPU_COUNT(&set), 1) : 1;
  const double quota = least_limit(membership, groups, "cpu", quota_in);
  return std::isinf(quota) ? cores : std::clamp(static_cast<int>(std::ceil(std::min(quota, 1e6))), 1, cores);
}

}  // namespace stagewise::cpu
