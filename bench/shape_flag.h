// --shape n128_32x32x16_k16_3x3_s1, as rows are named: one convolution's sizes from the command line.
#pragma once

#include <optional>

#include "tests/primitive_cases.h"

namespace stagewise::bench {

/// Images, height x width x channels, filters, rows x columns, stride; padded by half the filter on each side. The flag is
/// taken out of the arguments; nothing where it isn't there. Errors: throws Error for what is no shape, or too large for
/// memory.
std::optional<primitive_cases::ConvolutionSize> shape_flag(int& argc, char** argv);

}  // namespace stagewise::bench
