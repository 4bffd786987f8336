#include "search/commands/config_file.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

bool is_bare(const std::string& value) {
  if (value == "true" || value == "false") return true;
  if (value.empty() || value.find_first_not_of("+-.0123456789eE") != std::string::npos) return false;
  char* end = nullptr;
  std::strtod(value.c_str(), &end);
  return *end == '\0';
}

std::string quoted(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    if (c == '\n') {
      text += "\\n";
    } else {
      text += c;
    }
  }
  return text + "\"";
}

/// The value of `"..." # remark` or of `bare # remark`.
std::string parse_value(const std::string& text, const std::string& where) {
  if (text.empty() || text[0] != '"') return trimmed(text.substr(0, text.find('#')));
  std::string value;
  std::size_t at = 1;
  for (; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\' && at + 1 < text.size()) {
      ++at;
      value += text[at] == 'n' ? '\n' : text[at];
    } else {
      value += text[at];
    }
  }
  require(at < text.size(), where, ": the closing quote is missing");
  const std::string rest = trimmed(text.substr(at + 1));
  require(rest.empty() || rest[0] == '#', where, ": expected nothing after the closing quote, got `", rest, "`");
  return value;
}

std::string value_of(const CLI::Option& option) {
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

std::string config_text(const CLI::App& command) {
  std::string text = "# stagewise " + command.get_name() + " --config THIS_FILE repeats the run.\n";
  for (const CLI::Option* option : command.get_options()) {
    const std::string value = value_of(*option);
    if (!option->get_configurable() || option->get_lnames().empty()) continue;
    text += option->get_lnames().front() + " = " + (is_bare(value) ? value : quoted(value)) + "\n";
  }
  return text;
}

std::map<std::string, std::string> read_config(const std::string& path) {
  std::map<std::string, std::string> values;
  std::istringstream lines(read_file(path));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::string where = concat("`", path, "`, line ", number);
    line = trimmed(line);
    if (line.empty() || line[0] == '#') continue;
    const auto equals = line.find('=');
    require(equals != std::string::npos, where, ": expected `name = value`, got `", line, "`");
    const std::string name = trimmed(line.substr(0, equals));
    const std::string value = parse_value(trimmed(line.substr(equals + 1)), where);
    require(values.emplace(name, value).second, where, ": `", name, "` is there twice");
  }
  return values;
}

void apply_config(CLI::App& command, const std::string& path, UnknownKeys unknown_keys) {
  for (const auto& [name, value] : read_config(path)) {
    CLI::Option* option = find(command, name);
    if (option == nullptr && unknown_keys == UnknownKeys::pass_over) continue;
    require(option != nullptr, "`", path, "`: `", name, "` is no option of `stagewise ", command.get_name(),
            "` (see --help)");
    if (option->count() == 0) give(*option, value, concat("`", path, "`"));
  }
}

void apply_resumed_config(CLI::App& command, const std::string& path) {
  for (const auto& [name, value] : read_config(path)) {
    const CLI::Option* option = find(command, name);
    if (option == nullptr || option->count() == 0 || name == "threads") continue;
    require(value_of(*option) == value, "[--resume] --", name, " is ", value, " in `", path,
            "`: it can't be changed to ", value_of(*option), " in the middle of a run");
  }
  apply_config(command, path);
}

}  // namespace stagewise
