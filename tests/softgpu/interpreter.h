// Runs a kernel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime.h"

namespace softgpu {

struct Program;

struct Launch {
  const Program* program = nullptr;
  std::string title;
  dim3 grid, block;
  std::uint32_t dynamic_shared = 0;
  std::vector<std::uint8_t> parameters;
};

/// Runs all blocks, in the order the settings ask for. Throws DeviceError.
void run_launch(const Launch& launch);

/// Thread-instructions so far.
std::uint64_t instructions_executed();

}  // namespace softgpu
