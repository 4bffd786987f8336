#include "search/run/text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace stagewise {

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string short_number(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", number);
  return text;
}

std::string percent(double share) { return fixed(100.0 * share, 2) + "%"; }

std::string in_millions(std::int64_t number) {
  return number < 1'000'000 ? with_thousands(number) : fixed(static_cast<double>(number) / 1e6, 1) + " M";
}

std::string duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  if (whole < 60) return std::to_string(whole) + " s";
  const auto two = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  if (whole < 3600) return std::to_string(whole / 60) + " min " + two(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + two(whole / 60 % 60) + " min";
}

std::string join(const std::vector<std::int64_t>& numbers) {
  std::string text;
  for (const std::int64_t number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text;
}

namespace {

std::string blanks(const std::string& text, int width) {
  const auto columns = std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
  return std::string(static_cast<std::size_t>(std::max<std::int64_t>(0, width - columns)), ' ');
}

}  // namespace

std::string left(const std::string& text, int width) { return text + blanks(text, width); }
std::string right(const std::string& text, int width) { return blanks(text, width) + text; }

}  // namespace stagewise
