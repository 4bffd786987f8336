// From a name that a user typed to the enumerator that name_of gives that name.
#pragma once

#include <cstddef>
#include <string>

#include "tensor/error.h"

namespace stagewise {

/// Errors: throws Error `[what] expected a, b or c, got "..."`.
template <class Enum, std::size_t count>
Enum enum_from_name(const char* what, const std::string& name, const Enum (&all)[count]) {
  std::string expected;
  for (std::size_t i = 0; i < count; ++i) {
    if (name_of(all[i]) == name) return all[i];
    expected += (i == 0 ? "" : i + 1 == count ? " or " : ", ") + name_of(all[i]);
  }
  fail("[", what, "] expected ", expected, ", got \"", name, "\"");
}

}  // namespace stagewise
