// How much memory this process may use.
#pragma once

#include <cstdint>
#include <string>

namespace stagewise::cpu {

/// Bytes: the machine's memory, or less where the process's control group may use less. `membership` and `groups` as in
/// usable_cores().
std::int64_t usable_memory(const std::string& membership = "/proc/self/cgroup",
                           const std::string& groups = "/sys/fs/cgroup");

}  // namespace stagewise::cpu
