// The truth that the fast backends are compared with: plain loops, sums in double, float32 or float64 tensors, one
// thread. Read these first: what they compute is what every device must.
#pragma once

#include <memory>

#include "tensor/backend.h"

namespace stagewise {

/// `guarded`: guard bytes round every buffer and NaN in fresh ones, for tests (tensor/allocator.h).
std::unique_ptr<Backend> make_reference_backend(bool guarded = false);

}  // namespace stagewise
