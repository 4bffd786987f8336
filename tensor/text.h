// Numbers in messages, as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace stagewise {

/// 605610 to `605,610`.
inline std::string with_thousands(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::int64_t first = number < 0 ? 1 : 0;
  for (auto place = static_cast<std::int64_t>(digits.size()) - 3; place > first; place -= 3) {
    digits.insert(static_cast<std::size_t>(place), ",");
  }
  return digits;
}

}  // namespace stagewise
