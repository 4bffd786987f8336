#include "interpreter.h"

namespace softgpu {

void run_launch(const Launch& launch) {
  throw DeviceError{cudaErrorNotSupported, launch.title + ": the software GPU has no PTX interpreter yet"};
}

std::uint64_t instructions_executed() { return 0; }

}  // namespace softgpu
