#include "cpu/cpu_backend.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>

#include "cpu/cpu_backend_impl.h"

namespace stagewise {
namespace cpu {
namespace {

struct InstructionSet {
  const char* name;
  const Kernels* kernels;
  bool (*supported)();
};

// Best first.
const std::vector<InstructionSet>& instruction_sets() {
  static const std::vector<InstructionSet> sets = {
#ifdef STAGEWISE_HAVE_avx512
      {"avx512", &avx512::kernels,
       [] {
         return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
       }},
#endif
#ifdef STAGEWISE_HAVE_avx2
      {"avx2", &avx2::kernels, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
      {"avx512_emulated", &avx512_emulated::kernels,
       [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
      {"portable", &portable::kernels, [] { return true; }},
  };
  return sets;
}

int usable_cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(CPU_COUNT(&set), 1) : 1;
}

// Below a few thousand elements a loop is done before another thread has woken up.
constexpr std::int64_t kElements = 32 << 10;

template <class Body>
void for_elements(ThreadPool& pool, std::int64_t count, const Body& body) {
  pool.run((count + kElements - 1) / kElements,
           [&](std::int64_t item) { body(item * kElements, std::min(kElements, count - item * kElements)); });
}

}  // namespace

CpuBackend::CpuBackend(std::string instruction_set, const Kernels& kernels, int threads, bool strict_convolution,
                       bool guarded)
    : HostBackend(guarded),
      instruction_set_(std::move(instruction_set)),
      kernels_(kernels),
      strict_convolution_(strict_convolution),
      pool_(threads) {}

std::string CpuBackend::description() const {
  return concat(instruction_set_, ", ", pool_.threads(), pool_.threads() == 1 ? " thread" : " threads");
}

void CpuBackend::add(const Tensor& a, const Tensor& b, const Tensor& out) {
  for_elements(pool_, out.count(), [&](std::int64_t at, std::int64_t count) {
    kernels_.add(a.data<float>() + at, b.data<float>() + at, out.data<float>() + at, count);
  });
}

void CpuBackend::relu_forward(const Tensor& x, const Tensor& y) {
  for_elements(pool_, y.count(), [&](std::int64_t at, std::int64_t count) {
    kernels_.relu_forward(x.data<float>() + at, y.data<float>() + at, count);
  });
}

void CpuBackend::relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) {
  for_elements(pool_, dx.count(), [&](std::int64_t at, std::int64_t count) {
    kernels_.relu_backward(dy.data<float>() + at, y.data<float>() + at, dx.data<float>() + at, count);
  });
}

}  // namespace cpu

std::vector<std::string> cpu_instruction_sets() {
  std::vector<std::string> names;
  for (const cpu::InstructionSet& set : cpu::instruction_sets()) {
    if (set.supported()) names.emplace_back(set.name);
  }
  return names;
}

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  require(options.threads >= 0 && options.threads <= 1024, "[cpu] expected 0 to 1024 threads, got ", options.threads);
  std::string wanted = options.instruction_set;
  if (const char* const variable = std::getenv("STAGEWISE_INSTRUCTION_SET"); wanted.empty() && variable != nullptr) {
    wanted = variable;
  }
  const int threads = options.threads > 0 ? options.threads : cpu::usable_cores();
  std::string known;
  for (const cpu::InstructionSet& set : cpu::instruction_sets()) {
    const bool supported = set.supported();
    if (supported && (wanted.empty() || wanted == set.name)) {
      return std::make_unique<cpu::CpuBackend>(set.name, *set.kernels, threads, options.strict_convolution,
                                               options.guarded);
    }
    known += concat(known.empty() ? "" : ", ", set.name, supported ? "" : " (not on this machine)");
  }
  fail("[cpu] expected an instruction set of this list: ", known, "; got ", wanted);
}

}  // namespace stagewise
