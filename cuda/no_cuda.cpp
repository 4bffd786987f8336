// Stands in for the CUDA backend in a build without one.
#include "cuda/cuda_backend.h"

namespace stagewise {

std::string cuda_unavailable() {
  return "[device] this build has no CUDA backend: no CUDA toolkit (12.8 or later, with cuDNN 9 and cuRAND) was found "
         "when it was built, or STAGEWISE_CUDA=OFF left it out. Install one and build again with STAGEWISE_CUDA=ON, or "
         "use --device cpu";
}

std::string cuda_libraries() { return ""; }

std::vector<std::string> cuda_devices() { throw Error(cuda_unavailable()); }

double cuda_peak_gflops() { throw Error(cuda_unavailable()); }

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions&) { throw Error(cuda_unavailable()); }

PlanDevice plan_device() { throw Error(cuda_unavailable()); }

PlanFile tune_convolutions(Backend&, const std::function<void()>&, const std::function<void(const TuningProgress&)>&) {
  throw Error(cuda_unavailable());
}

}  // namespace stagewise
