// Page-locked host memory: what copies may read and write late, and kernels may reach.
#pragma once

#include <cstddef>

namespace softgpu {

void pin(void* pointer, std::size_t bytes);
/// False where no pinned range starts there.
bool unpin(void* pointer);
bool is_pinned(const void* pointer, std::size_t bytes);

}  // namespace softgpu
