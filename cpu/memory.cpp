#include "cpu/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "cpu/control_group.h"

namespace stagewise::cpu {

namespace {

/// Version 2 says `max` for no limit, version 1 a number that no machine reaches.
double limit_in(const std::string& folder) {
  double least = kNoLimit;
  for (const char* const name : {"/memory.max", "/memory.high", "/memory.limit_in_bytes"}) {
    std::ifstream file(folder + name);
    double bytes = 0;
    if (file >> bytes && bytes > 0) least = std::min(least, bytes);
  }
  return least;
}

}  // namespace

std::int64_t usable_memory(const std::string& membership, const std::string& groups) {
  const double machine = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  return static_cast<std::int64_t>(std::min(machine, least_limit(membership, groups, "memory", limit_in)));
}

}  // namespace stagewise::cpu
