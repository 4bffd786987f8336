// A value in a TOML file (a run's config.toml, a sweep's file), as the command line would have it.
#pragma once

#include <toml++/toml.h>

#include <string>

namespace stagewise {

/// A text as it is, a number in its shortest spelling, `true` or `false`, the items of a list with commas between.
/// Errors: throws Error for anything else; `where` says which file and line.
std::string toml_value_text(const toml::node& node, const std::string& where);

}  // namespace stagewise
