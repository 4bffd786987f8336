// config.toml: a command's options as `name = value`, a line each, in TOML (toml.io). What is given on the command line
// wins over it.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace stagewise {

/// The options of `command` as they stand after parsing: all but those that say where a run is written and how it
/// talks. `name` is the command that repeats the run.
std::string config_text(const CLI::App& command, const std::string& name);

/// Names and values, these as the command line would have them. Errors: throws Error, with the line, for what is not
/// TOML, and for a value that is no number, text or truth.
std::map<std::string, std::string> read_config(const std::string& path);
/// The same of a file's contents; `path` is what errors call it.
std::map<std::string, std::string> parse_config(std::string_view contents, const std::string& path);

enum class UnknownKeys { refuse, pass_over };

/// Gives `command` the values in `path` of the options that the command line left open. Errors: throws Error for a key
/// that is no option of the command (unless they are passed over), and for a value that its option refuses. Keys in
/// `except` are left open.
void apply_config(CLI::App& command, const std::string& path, UnknownKeys unknown_keys = UnknownKeys::refuse,
                  const std::set<std::string>& except = {});

/// The same of values that were read already; `path` is what errors call their file.
void apply_values(CLI::App& command, const std::map<std::string, std::string>& values, const std::string& path,
                  UnknownKeys unknown_keys = UnknownKeys::refuse, const std::set<std::string>& except = {});

/// Gives an option a value, as if the person had.
void set_option(CLI::App& command, const std::string& name, const std::string& value);

/// The same for a run that goes on. Errors: throws Error as well when the command line gives an option that would
/// change the result another value than the file.
void apply_resumed_config(CLI::App& command, const std::string& path);

}  // namespace stagewise
