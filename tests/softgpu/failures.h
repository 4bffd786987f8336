// Calls that are made to fail, for tests of what a program does then.
#pragma once

#include <cuda_runtime_api.h>

namespace softgpu {

/// The error that `call` shall end with this time, as SOFTGPU_FAIL or softgpu_fail asked for; else cudaSuccess. Those
/// that can be made to fail are the callers of this function.
cudaError_t planted_failure(const char* call);

}  // namespace softgpu
