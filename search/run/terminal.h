// What a terminal can do that a file can't: colours, where the person hasn't turned them off.
#pragma once

#include <string>

namespace stagewise {

/// Whether a standard stream (STDOUT_FILENO, STDERR_FILENO) is a terminal that colours are wanted on: not where NO_COLOR
/// is set to anything (no-color.org), nor where TERM is `dumb`.
bool may_colour(int stream);

/// The bars of a drawn network in colour, new blocks in another, where `stream` may have it; else the text as it is.
std::string painted(const std::string& text, int stream);

/// `stagewise: MESSAGE` on standard error, with the name in red where that may be.
void complain(const std::string& message);

}  // namespace stagewise
