// Errors for the person who made the mistake: what was expected, what came, and where.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "tensor/text.h"

namespace stagewise {

/// A mistake that a user can make and mend (a shape, a flag, a file). The program ends with exit code 2. What it says
/// is UTF-8 whatever the names in it are.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& text) : std::runtime_error(as_utf8(text)) {}
};

/// There is no memory for what was asked. What to lower depends on who asked: the program says it.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

/// The parts, written one after another as `<<` writes them.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

/// Throws Error(concat(parts...)).
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(concat(parts...));
}

/// Throws Error(concat(parts...)) unless `condition` holds.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) fail(parts...);
}

}  // namespace stagewise
