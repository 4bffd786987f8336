// What a control group (Linux's cgroup-v2.rst and cgroup-v1) limits this process to.
#pragma once

#include <functional>
#include <string>

namespace stagewise::cpu {

/// No limit.
extern const double kNoLimit;

/// The least that `limit_in` says of the folders of this process's group and of those round it, up to the root; kNoLimit
/// where nothing limits it. The group is found through the file `membership` (/proc/self/cgroup), the folders lie under
/// `groups`, version 1's under groups/`controller`. NaN and 0, of half a file, are no limit.
double least_limit(const std::string& membership, const std::string& groups, const std::string& controller,
                   const std::function<double(const std::string& folder)>& limit_in);

}  // namespace stagewise::cpu
