// What work moves: how often each kernel, copy and host work ran, and the bytes of device memory that it read and wrote.
#pragma once

#include <string>

namespace softgpu {

/// Whether SOFTGPU_COUNT or softgpu_count_traffic asked for it.
bool counts_traffic();
/// Counts what the running work, called `name`, has touched: each four bytes once, however often and by however many
/// threads, as caches would have it. Reads it from the records of accesses (races.h), so it needs those.
void count_traffic(const std::string& name);

}  // namespace softgpu
