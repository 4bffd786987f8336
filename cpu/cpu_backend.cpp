#include "cpu/cpu_backend.h"

#include <algorithm>
#include <cstdlib>

#include "cpu/cores.h"
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
#endif
#ifdef STAGEWISE_HAVE_avx512_emulated
      {"avx512_emulated", &avx512_emulated::kernels,
       [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
#ifdef STAGEWISE_HAVE_neon
      {"neon", &neon::kernels, [] { return true; }},  // every 64-bit ARM has it
#endif
      {"portable", &portable::kernels, [] { return true; }},
  };
  return sets;
}

// Below a few thousand elements a loop is done before another thread has woken up.
constexpr std::int64_t kElements = 32 << 10;

/// Calls body(offset, count) for parts that together are all elements; those of a narrow map pass through buffers.
template <class Body>
void for_elements(ThreadPool& pool, const Tensor& out, const Body& body) {
  const std::int64_t count = out.count(), part = FeatureMap(out).narrow() ? kBufferedFloats : kElements;
  pool.sweep((count + kElements - 1) / kElements, [&](std::int64_t item) {
    const std::int64_t end = std::min((item + 1) * kElements, count);
    for (std::int64_t at = item * kElements; at < end; at += part) body(at, std::min(part, end - at));
  });
}

}  // namespace

CpuBackend::CpuBackend(std::string instruction_set, const Kernels& kernels, int threads, bool strict_convolution,
                       bool guarded)
    : HostBackend(guarded),
      instruction_set_(std::move(instruction_set)),
      kernels_(kernels),
      strict_convolution_(strict_convolution),
      threads_asked_for_(threads),
      pool_(threads) {}

std::string CpuBackend::description() const {
  const int threads = pool_.threads();
  return concat(instruction_set_, ", ", threads, threads == 1 ? " thread" : " threads",
                threads < threads_asked_for_ ? concat(" (the system refuses ", threads_asked_for_, ")") : "");
}

void CpuBackend::add(const Tensor& a, const Tensor& b, const Tensor& out) {
  const FeatureMap from(a), other(b), to(out);
  for_elements(pool_, out, [&](std::int64_t at, std::int64_t count) {
    float* const sum = to.target(Scratch::result, at, count);
    kernels_.add(from.read(kernels_, Scratch::first_map, at, count),
                 other.read(kernels_, Scratch::second_map, at, count), sum, count);
    to.written(kernels_, sum, at, count);
  });
}

void CpuBackend::relu_forward(const Tensor& x, const Tensor& y) {
  const FeatureMap from(x), to(y);
  for_elements(pool_, y, [&](std::int64_t at, std::int64_t count) {
    float* const out = to.target(Scratch::result, at, count);
    kernels_.relu_forward(from.read(kernels_, Scratch::first_map, at, count), out, count);
    to.written(kernels_, out, at, count);
  });
}

void CpuBackend::relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) {
  const FeatureMap from(dy), mask(y), to(dx);
  for_elements(pool_, dx, [&](std::int64_t at, std::int64_t count) {
    float* const out = to.target(Scratch::result, at, count);
    kernels_.relu_backward(from.read(kernels_, Scratch::first_map, at, count),
                           mask.read(kernels_, Scratch::second_map, at, count), out, count);
    to.written(kernels_, out, at, count);
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
