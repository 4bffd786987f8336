// How many cores this process may use.
#pragma once

#include <string>

namespace stagewise::cpu {

/// The cores that the scheduler may put this process on; fewer where its control group's quota of processor time is
/// smaller (containers, batch systems), a part of a core counting as one. At least 1. The group is found through
/// `membership`, its limits and those of the groups round it under `groups` (Linux's cgroup-v2.rst and cgroup-v1
/// sched-bwc.rst); what isn't there limits nothing.
int usable_cores(const std::string& membership = "/proc/self/cgroup", const std::string& groups = "/sys/fs/cgroup");

}  // namespace stagewise::cpu
