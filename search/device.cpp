#include "search/device.h"

#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "cuda/cuda_backend.h"

namespace stagewise {

std::unique_ptr<Backend> open_backend(const std::string& device, int threads) {
  if (device == "reference") return make_reference_backend();
  if (device == "cuda") return make_cuda_backend();
  require(device == "auto" || device == "cpu", "[--device] expected auto, cpu, reference or cuda, got `", device, "`");
  if (device == "auto" && cuda_unavailable().empty()) return make_cuda_backend();
  return make_cpu_backend({.threads = threads, .instruction_set = {}, .guarded = false});
}

}  // namespace stagewise
