#include "failures.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "runtime.h"
#include "softgpu.h"

namespace softgpu {
namespace {

struct Plan {
  int before = 0, times = 0;
};

const std::map<std::string, cudaError_t>& failing_calls() {
  static const auto* const calls =
      new std::map<std::string, cudaError_t>{{"cudaMallocAsync", cudaErrorMemoryAllocation},
                                             {"cudaStreamBeginCapture", cudaErrorStreamCaptureUnsupported},
                                             {"captured launch", cudaErrorStreamCaptureInvalidated},
                                             {"cudaStreamEndCapture", cudaErrorStreamCaptureInvalidated},
                                             {"cudaGraphInstantiate", cudaErrorMemoryAllocation},
                                             {"cudaGraphLaunch", cudaErrorMemoryAllocation}};
  return *calls;
}

/// SOFTGPU_FAIL=cudaGraphInstantiate: every call of it.
std::map<std::string, Plan> from_environment() {
  std::map<std::string, Plan> plans;
  const char* const call = std::getenv("SOFTGPU_FAIL");
  if (call == nullptr) return plans;
  if (!failing_calls().contains(call)) {
    std::fprintf(stderr, "softgpu: SOFTGPU_FAIL=%s: expected one of", call);
    for (const auto& [name, code] : failing_calls()) std::fprintf(stderr, " %s", name.c_str());
    std::fprintf(stderr, "\n");
    std::exit(2);
  }
  plans[call] = {.before = 0, .times = 1 << 30};
  return plans;
}

std::map<std::string, Plan>& plans() {
  static auto* const instance = new std::map<std::string, Plan>(from_environment());
  return *instance;
}

}  // namespace

cudaError_t planted_failure(const char* call) {
  const auto found = plans().find(call);
  if (found == plans().end()) return cudaSuccess;
  Plan& plan = found->second;
  if (plan.before > 0) return --plan.before, cudaSuccess;
  if (plan.times == 0) return cudaSuccess;
  --plan.times;
  return failing_calls().at(call);
}

}  // namespace softgpu

using namespace softgpu;

extern "C" int softgpu_fail(const char* call, int before, int times) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  if (!failing_calls().contains(call)) return 1;
  plans()[call] = {.before = before, .times = times};
  return 0;
}
