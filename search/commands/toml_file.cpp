#include "search/commands/toml_file.h"

#include "search/commands/numbers.h"
#include "tensor/error.h"

namespace stagewise {

toml::table parse_toml(std::string_view contents, const std::string& path) {
  try {
    return toml::parse(contents);
  } catch (const toml::parse_error& error) {
    fail(toml_place(path, error.source()), ": ", error.description());
  }
}

std::string toml_place(const std::string& path, const toml::source_region& source) {
  return concat("`", path, "`, line ", source.begin.line);
}

std::string toml_value_text(const toml::node& node, const std::string& where) {
  if (const auto text = node.value_exact<std::string>()) return *text;
  if (const auto truth = node.value_exact<bool>()) return *truth ? "true" : "false";
  if (const auto whole = node.value_exact<std::int64_t>()) return spelled(*whole);
  if (const auto number = node.value_exact<double>()) return spelled(*number);
  const toml::array* list = node.as_array();
  require(list != nullptr && !list->empty(), where, ": expected a text in quotes, a number, true, false or a list");
  std::string text;
  for (const toml::node& item : *list) text += (text.empty() ? "" : ",") + toml_value_text(item, where);
  return text;
}

}  // namespace stagewise
