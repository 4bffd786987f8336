// Stands in for the CUDA backend in a build without one.
#include "cuda/cuda_backend.h"

namespace stagewise {

std::string cuda_unavailable() {
  return "[device] this build has no CUDA backend yet: use --device cpu (what --device auto takes)";
}

std::unique_ptr<Backend> make_cuda_backend() { throw Error(cuda_unavailable()); }

}  // namespace stagewise
