#include "search/commands/numbers.h"

#include <charconv>
#include <cmath>

namespace stagewise {

template <class T>
std::optional<T> parse_number(const std::string& text) {
  const char* const end = text.data() + text.size();
  const char* const start = text.starts_with('+') && !text.starts_with("+-") ? text.data() + 1 : text.data();
  T value{};
  const auto [stop, error] = std::from_chars(start, end, value);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}
template std::optional<std::int64_t> parse_number(const std::string&);
template std::optional<std::uint64_t> parse_number(const std::string&);
template std::optional<double> parse_number(const std::string&);

std::string spelled(double value) {
  const double size = std::abs(value);
  if (size == 0) value = 0;  // `-0` would be read back as a whole number, which has no sign at 0
  const bool plain = size == 0 || (size >= 1e-6 && size < 1e15);  // 0.0005 reads better than 5e-04
  char text[64];
  const auto end =
      std::to_chars(text, text + sizeof text, value, plain ? std::chars_format::fixed : std::chars_format::scientific);
  return {text, end.ptr};
}

bool same_value(const std::string& a, const std::string& b) {
  const std::optional<double> left = parse_number<double>(a), right = parse_number<double>(b);
  return a == b || (left && right && *left == *right);
}

}  // namespace stagewise
