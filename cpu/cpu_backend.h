// The CPU backend: our own SIMD kernels on a pool of threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tensor/backend.h"

namespace stagewise {

struct CpuOptions {
  int threads = 0;                  // 0: one for each core the process may use
  std::string instruction_set;      // "" takes STAGEWISE_INSTRUCTION_SET if set, else the best the machine has
  bool strict_convolution = false;  // direct kernels only: a tenth of Winograd's rounding error
  bool guarded = false;             // for tests: tensor/allocator.h
};

/// Same seed, same bits, with any number of threads: work is cut by the problem's size.
/// Errors: throws Error for an instruction set that is unknown or that the machine lacks, and for threads < 0 or >
/// 1024.
std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options = {});

/// The instruction sets built in that this machine can run, best first: `avx512`, `avx2`, `avx512_emulated`;
/// `neon`; `portable`.
std::vector<std::string> cpu_instruction_sets();

}  // namespace stagewise
