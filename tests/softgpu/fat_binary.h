// The PTX inside the image that nvcc embeds in a program.
#pragma once

#include <string>

namespace softgpu {

/// The PTX text that suits `compute_capability` best: the newest that isn't newer, else the oldest. `wrapper` is what
/// __cudaRegisterFatBinary gets. Throws DeviceError where there is none, or only compressed text.
std::string find_ptx(const void* wrapper, int compute_capability);

}  // namespace softgpu
