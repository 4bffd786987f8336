// The CUDA backend, or its absence.
#pragma once

#include <memory>
#include <string>

#include "tensor/backend.h"

namespace stagewise {

/// Why there is no CUDA here and what to do about it; empty when there is.
std::string cuda_unavailable();

/// Errors: throws Error(cuda_unavailable()) when there is none.
std::unique_ptr<Backend> make_cuda_backend();

}  // namespace stagewise
