#include "cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

namespace stagewise {

std::string cuda_unavailable() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status == cudaSuccess && devices > 0) return "[device] the CUDA backend is not complete: use --device cpu";
  return concat("[device] no CUDA here: ", cudaGetErrorString(status));
}

std::unique_ptr<Backend> make_cuda_backend() { throw Error(cuda_unavailable()); }

}  // namespace stagewise
