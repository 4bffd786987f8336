// Numbers and names in messages, as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

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

/// `1 image`, `2,000 images`; `several` is given where it isn't the word and an s.
inline std::string counted(std::int64_t number, const std::string& one, const std::string& several = "") {
  return with_thousands(number) + " " + (number == 1 ? one : several.empty() ? one + "s" : several);
}

/// Whether `text` is UTF-8 (RFC 3629), as JSON, TOML and terminals want it. Names of files may be anything.
bool is_utf8(std::string_view text);

/// `text` with each byte that is no UTF-8 as `\xE9`.
std::string as_utf8(std::string_view text);

/// The same, and control characters likewise: a name of a file within a message.
std::string printable(std::string_view text);

}  // namespace stagewise
