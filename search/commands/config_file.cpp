#include "search/commands/config_file.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "search/commands/numbers.h"
#include "search/commands/toml_file.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

/// A TOML string.
std::string quoted(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04X", static_cast<unsigned>(c));
      text += code;
    } else {
      text += c;
    }
  }
  return text + "\"";
}

/// Numbers and flags are TOML as they stand: numbers.h has spelled them.
bool is_bare(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return option.get_expected_min() == 0 || type == "INT" || type == "UINT" || type == "FLOAT";
}

std::string value_of(const CLI::Option& option) {
  if (option.count() > 0 && option.get_expected_min() == 0) return option.as<bool>() ? "true" : "false";  // not `off`
  if (option.count() > 0) return option.as<std::string>();
  if (!option.get_default_str().empty()) return option.get_default_str();
  return option.get_expected_min() == 0 ? "false" : "";
}

void give(CLI::Option& option, const std::string& value, const std::string& where) {
  try {
    // A flag counts what it is told; everything else takes the text.
    option.add_result(option.get_expected_min() == 0 ? option.get_flag_value(option.get_single_name(), value) : value);
    option.run_callback();
  } catch (const CLI::ParseError& error) {
    fail(where, ": ", error.what());
  }
}

CLI::Option* find(CLI::App& command, const std::string& name) {
  CLI::Option* option = command.get_option_no_throw("--" + name);
  return option != nullptr && option->get_configurable() ? option : nullptr;
}

}  // namespace

std::string config_text(const CLI::App& command, const std::string& name) {
  std::string text = "# stagewise " + name + " --config THIS_FILE repeats the run.\n";
  for (const CLI::Option* option : command.get_options()) {
    const std::string value = value_of(*option);
    if (!option->get_configurable() || option->get_lnames().empty()) continue;
    text += option->get_lnames().front() + " = " + (is_bare(*option) ? value : quoted(value)) + "\n";
  }
  return text;
}

std::map<std::string, std::string> read_config(const std::string& path) { return parse_config(read_file(path), path); }

std::map<std::string, std::string> parse_config(std::string_view contents, const std::string& path) {
  std::map<std::string, std::string> values;
  for (const auto& [key, node] : parse_toml(contents, path)) {
    values.emplace(key.str(), toml_value_text(node, concat(toml_place(path, node.source()), ": `", key.str(), "`")));
  }
  return values;
}

void apply_config(CLI::App& command, const std::string& path, UnknownKeys unknown_keys,
                  const std::set<std::string>& except) {
  apply_values(command, read_config(path), path, unknown_keys, except);
}

void apply_values(CLI::App& command, const std::map<std::string, std::string>& values, const std::string& path,
                  UnknownKeys unknown_keys, const std::set<std::string>& except) {
  for (const auto& [name, value] : values) {
    if (except.contains(name)) continue;
    CLI::Option* option = find(command, name);
    if (option == nullptr && unknown_keys == UnknownKeys::pass_over) continue;
    require(option != nullptr, "`", path, "`: `", name, "` is no option of `stagewise ", command.get_name(),
            "` (see --help)");
    if (option->count() == 0) give(*option, value, concat("`", path, "`"));
  }
}

void set_option(CLI::App& command, const std::string& name, const std::string& value) {
  CLI::Option& option = *command.get_option(name);
  option.clear();
  option.add_result(value);
  option.run_callback();
}

namespace {

/// What doesn't change a run's result, or is asked for to change it.
bool may_change(const std::string& name) {
  static const std::set<std::string> names = {"threads",      "cache",       "data",       "skip-unreadable",
                                              "save-minutes", "rate-factor", "any-device", "tensorboard",
                                              "plans"};  // a run that goes on has its own copy
  return names.contains(name);
}

}  // namespace

void apply_resumed_config(CLI::App& command, const std::string& path) {
  for (const auto& [name, value] : read_config(path)) {
    const CLI::Option* option = find(command, name);
    if (option == nullptr || option->count() == 0 || may_change(name)) continue;
    require(same_value(value_of(*option), value), "[--resume] --", name, " is ", value, " in `", path,
            "`: it can't be changed to ", value_of(*option), " in the middle of a run");
  }
  apply_config(command, path);
}

}  // namespace stagewise
