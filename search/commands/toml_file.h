// TOML files that people write (a run's config.toml, a sweep's file), by toml++: what both kinds of reader need of it.
#pragma once

#include <toml++/toml.h>

#include <string>
#include <string_view>

namespace stagewise {

/// Errors: throws Error for what is no TOML, with the line. `path` is the file's, for messages.
toml::table parse_toml(std::string_view contents, const std::string& path);

/// Where something stands, for messages: `FILE`, line 3.
std::string toml_place(const std::string& path, const toml::source_region& source);

/// A value as the command line would have it: a text as it is, a number in its shortest spelling, `true` or `false`, the
/// items of a list with commas between. Errors: throws Error for anything else; `where` says which file and line.
std::string toml_value_text(const toml::node& node, const std::string& where);

}  // namespace stagewise
