// Counts in JSON that others may have written: the library reads a whole number of too many digits as a floating-point
// one, and to make an integer of that is undefined.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>

namespace stagewise {

/// Whether `value` is no floating-point number, and no list with one in it.
inline bool is_whole(const nlohmann::json& value) {
  return value.is_array() ? std::all_of(value.begin(), value.end(), is_whole) : !value.is_number_float();
}

}  // namespace stagewise
