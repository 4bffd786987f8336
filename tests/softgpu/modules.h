// What nvcc's host code registers before main: fat binaries, kernels, variables.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime.h"

namespace softgpu {

struct Program;  // decoded kernel: interpreter.h

struct Variable {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
};

/// A kernel of a fat binary. Its PTX is decoded at the first launch.
struct Kernel {
  std::string name;   // mangled
  std::string title;  // for people
  struct Module* module = nullptr;
  std::shared_ptr<const Program> program;
  int dynamic_shared_limit = 48 << 10;
};

/// The kernel that a host stub, or a handle of __cudaGetKernel, stands for; null where there is none.
Kernel* find_kernel(const void* stub_or_handle);

/// The kernel's decoded program. Throws DeviceError where there is no PTX or it can't be decoded.
const Program& program_of(Kernel& kernel);

/// The __device__ or __constant__ variable behind its host shadow; null where there is none. Gives it memory.
const Variable* find_variable(const void* shadow);

}  // namespace softgpu
