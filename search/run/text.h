// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/text.h"

namespace stagewise {

/// `digits` places behind the point.
std::string fixed(double value, int digits);
/// Three significant digits: 0.0123456 to `0.0123`.
std::string short_number(double number);
/// 0.9338 to `93.38%`.
std::string percent(double share);
/// 92735488 to `92.7 M`; below a million the number itself.
std::string in_millions(std::int64_t number);
/// Seconds to `8 s`, `4 min 10 s`, `2 h 05 min`.
std::string duration(double seconds);
/// {3,4,3} to `3,4,3`.
std::string join(const std::vector<std::int64_t>& numbers);
/// `text` padded with blanks to `width` columns (UTF-8 characters count as one), on the right or on the left.
std::string left(const std::string& text, int width);
std::string right(const std::string& text, int width);

}  // namespace stagewise
