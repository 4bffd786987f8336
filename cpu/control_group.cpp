#include "cpu/control_group.h"

#include <algorithm>
#include <fstream>
#include <limits>

namespace stagewise::cpu {

const double kNoLimit = std::numeric_limits<double>::infinity();

double least_limit(const std::string& membership, const std::string& groups, const std::string& controller,
                   const std::function<double(const std::string& folder)>& limit_in) {
  double least = kNoLimit;
  const auto look_from = [&](const std::string& root, std::string group) {
    while (true) {
      if (const double limit = limit_in(root + group); limit > 0) least = std::min(least, limit);
      if (group.empty()) return;
      group.erase(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
    }
  };
  std::ifstream lines(membership);
  for (std::string line; std::getline(lines, line);) {  // `0::/group`, or version 1's `4:cpu,cpuacct:/group`
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") look_from(groups, group);
    if (controllers.find("," + controller + ",") != std::string::npos) look_from(groups + "/" + controller, group);
  }
  return least;
}

}  // namespace stagewise::cpu
