// What benches take from the command line beside Google Benchmark's flags.
#pragma once

#include <optional>
#include <string>

#include "tests/primitive_cases.h"

namespace stagewise::bench {

/// The value of `--NAME VALUE` or `--NAME=VALUE`, which is taken out of the arguments; nothing where it isn't there.
/// Errors: throws Error where no value follows.
std::optional<std::string> take_flag(const std::string& name, int& argc, char** argv);

/// --batch 8. Errors: throws Error for what is no number of images from 2 to 65536.
std::optional<std::int64_t> batch_flag(int& argc, char** argv);

/// --shape n128_32x32x16_k16_3x3_s1, as rows are named: images, height x width x channels, filters, rows x columns, stride;
/// padded by half the filter on each side. Errors: throws Error for what is no shape, or too large for memory.
std::optional<primitive_cases::ConvolutionSize> shape_flag(int& argc, char** argv);

}  // namespace stagewise::bench
