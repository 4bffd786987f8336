// A decoded kernel.
#pragma once

#include <cstdint>
#include <vector>

namespace softgpu {

struct Parameter {
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;
};

struct Program {
  std::vector<Parameter> parameters;
  std::uint32_t parameter_bytes = 0;
  std::uint32_t static_shared = 0;    // as the programmer counts: without the guards between arrays
  std::uint32_t local_bytes = 0;      // a thread
  std::uint32_t maximum_threads = 0;  // __launch_bounds__; 0 where there are none
};

}  // namespace softgpu
