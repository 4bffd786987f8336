// Numbers on the command line and in config files. They are decimal, whatever they begin with, and are kept in one
// spelling each (`.05` as `0.05`, `010` as `10`), which is TOML too.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <type_traits>

#include "tensor/error.h"

namespace stagewise {

/// All of `text` as a decimal number: digits with at most a sign before them; for a double also a point and an
/// exponent. Nothing for what isn't one or doesn't fit. T is std::int64_t, std::uint64_t or double.
template <class T>
std::optional<T> parse_number(const std::string& text);
extern template std::optional<std::int64_t> parse_number(const std::string&);
extern template std::optional<std::uint64_t> parse_number(const std::string&);
extern template std::optional<double> parse_number(const std::string&);

/// The shortest decimal that reads back as `value`; 0 has no sign.
std::string spelled(double value);
inline std::string spelled(std::int64_t value) { return std::to_string(value); }
inline std::string spelled(std::uint64_t value) { return std::to_string(value); }

/// Whether two spellings mean the same: the same text, or the same number.
bool same_value(const std::string& a, const std::string& b);

/// A number in lo..hi, both allowed, which it spells; NaN is in no range. To be given to CLI::Option::transform.
template <class T>
CLI::Validator between(T lo, T hi) {
  const std::string kind = std::is_integral_v<T> ? "a whole number" : "a number";
  return CLI::Validator(
      [=](std::string& text) {
        const std::optional<T> value = parse_number<T>(text);
        if (!value || !(*value >= lo && *value <= hi)) {
          return concat("expected ", kind, " in ", lo, "..", hi, ", got `", text, "`");
        }
        text = spelled(*value);
        return std::string();
      },
      "");
}

}  // namespace stagewise
