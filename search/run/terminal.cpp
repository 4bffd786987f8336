#include "search/run/terminal.h"

#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string_view>

namespace stagewise {

namespace {

constexpr const char *kBoldRed = "\033[1;31m", *kGreen = "\033[32m", *kBlue = "\033[34m", *kPlain = "\033[0m";

/// Runs of `character` between `colour` and back.
std::string coloured_runs(const std::string& text, std::string_view character, const char* colour) {
  std::string out;
  bool inside = false;
  for (std::size_t at = 0; at < text.size();) {
    const bool is_it = std::string_view(text).substr(at).starts_with(character);
    if (is_it != inside) out += is_it ? colour : kPlain;
    inside = is_it;
    const std::size_t length = is_it ? character.size() : 1;
    out += text.substr(at, length);
    at += length;
  }
  return inside ? out + kPlain : out;
}

}  // namespace

bool may_colour(int stream) {
  const char *const no_colour = std::getenv("NO_COLOR"), *const terminal = std::getenv("TERM");
  if (no_colour != nullptr && *no_colour != '\0') return false;
  return isatty(stream) != 0 && terminal != nullptr && std::string_view(terminal) != "dumb";
}

std::string painted(const std::string& text, int stream) {
  return may_colour(stream) ? coloured_runs(coloured_runs(text, "█", kBlue), "▓", kGreen) : text;
}

void complain(const std::string& message) {
  std::cout.flush();  // so that it stands where it belongs
  const bool colour = may_colour(STDERR_FILENO);
  std::cerr << (colour ? kBoldRed : "") << "stagewise:" << (colour ? kPlain : "") << ' ' << message << std::endl;
}

}  // namespace stagewise
