// How work that runs on the host reaches device memory.
#pragma once

#include <cstdint>

namespace softgpu {

/// softgpu_translate, by an exception: throws DeviceError where the running work may not access the range.
void* host_address(std::uint64_t address, std::uint64_t bytes, bool write);

}  // namespace softgpu
