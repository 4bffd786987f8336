// Memory of a device in stream order: cudaMallocAsync and cudaFreeAsync queue on a stream like kernels, so a buffer may
// be given back while kernels that use it still wait. On top, the project's CachingAllocator keeps freed buffers, and a
// steady training step asks for none.
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/allocator.h"

namespace stagewise::cuda {

/// Memory for work on `stream` only. `exact` is for tests (tensor/allocator.h): one allocation a tensor, NaN to begin
/// with where it is `filled`. Checking guard bytes waits for the device. Errors when memory is asked for: throws
/// std::bad_alloc when there is not enough, for which CachingAllocator gives its cache back and tries again.
CachingAllocator::Source stream_memory(cudaStream_t stream, bool exact, bool filled);

}  // namespace stagewise::cuda
