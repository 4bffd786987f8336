// Which program this is.
#pragma once

#include <string>

namespace stagewise {

/// `stagewise 0.1.0 (commit a1b2c3d)`, with `-dirty` where the sources differed from it; without what is in brackets
/// when it was not built from a git checkout.
std::string program_version();

/// The same, and below it the compiler, the instruction sets that it can use here and the CUDA libraries.
std::string program_details();

}  // namespace stagewise
