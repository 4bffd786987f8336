// Which device computes.
#pragma once

#include <memory>
#include <string>

#include "tensor/backend.h"

namespace stagewise {

/// `auto` (CUDA where there is one, else the CPU), `cpu`, `reference` or `cuda`; `threads` is for the CPU, 0 takes one
/// a core. Errors: throws Error for another name, and for `cuda` where there is none, saying why and what to do.
std::unique_ptr<Backend> open_backend(const std::string& device, int threads);

}  // namespace stagewise
