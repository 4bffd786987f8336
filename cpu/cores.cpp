#include "cpu/cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

namespace stagewise::cpu {

namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

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

/// The least of the group's quota and those of the groups round it, up to the root. NaN and 0, of half a file, are
/// none.
double quota_of(const std::string& root, std::string group) {
  double least = kNoLimit;
  while (true) {
    if (const double quota = quota_in(root + group); quota > 0) least = std::min(least, quota);
    if (group.empty()) return least;
    group.erase(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
}

}  // namespace

int usable_cores(const std::string& membership, const std::string& groups) {
  cpu_set_t set;
  const int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(CPU_COUNT(&set), 1) : 1;
  double quota = kNoLimit;
  std::ifstream lines(membership);
  for (std::string line; std::getline(lines, line);) {  // `0::/group`, or version 1's `4:cpu,cpuacct:/group`
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") quota = std::min(quota, quota_of(groups, group));
    if (controllers.find(",cpu,") != std::string::npos) quota = std::min(quota, quota_of(groups + "/cpu", group));
  }
  return std::isinf(quota) ? cores : std::clamp(static_cast<int>(std::ceil(std::min(quota, 1e6))), 1, cores);
}

}  // namespace stagewise::cpu
