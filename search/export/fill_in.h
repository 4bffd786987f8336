// Text with @NAMES@ for what differs from network to network.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

namespace stagewise {

/// `text` with every occurrence of `name` as `value`.
inline std::string replaced(std::string text, const std::string& name, const std::string& value) {
  for (auto at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size())) {
    text.replace(at, name.size(), value);
  }
  return text;
}

/// The same for several, one after the other: a value may hold the names that follow.
inline std::string filled_in(std::string text, std::initializer_list<std::pair<const char*, std::string>> values) {
  for (const auto& [name, value] : values) text = replaced(std::move(text), name, value);
  return text;
}

}  // namespace stagewise
