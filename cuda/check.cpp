#include "cuda/check.h"

#include "tensor/error.h"

namespace stagewise::cuda {
namespace {

template <class... More>
[[noreturn]] void fail_at(const CallSite& site, const More&... more) {
  fail("[cuda] ", site.call, " failed at ", site.file, ":", site.line, ": ", more...);
}

/// What the library itself takes, of a size that it doesn't tell.
[[noreturn]] void lacks_memory(const CallSite& site) {
  throw OutOfMemory(
      concat("out of memory: [cuda] ", site.call, " failed at ", site.file, ":", site.line, ", ", memory_left()));
}

const char* name_of(curandStatus_t status) {
  switch (status) {
    case CURAND_STATUS_SUCCESS: return "CURAND_STATUS_SUCCESS";
    case CURAND_STATUS_VERSION_MISMATCH: return "CURAND_STATUS_VERSION_MISMATCH";
    case CURAND_STATUS_NOT_INITIALIZED: return "CURAND_STATUS_NOT_INITIALIZED";
    case CURAND_STATUS_ALLOCATION_FAILED: return "CURAND_STATUS_ALLOCATION_FAILED";
    case CURAND_STATUS_TYPE_ERROR: return "CURAND_STATUS_TYPE_ERROR";
    case CURAND_STATUS_OUT_OF_RANGE: return "CURAND_STATUS_OUT_OF_RANGE";
    case CURAND_STATUS_LENGTH_NOT_MULTIPLE: return "CURAND_STATUS_LENGTH_NOT_MULTIPLE";
    case CURAND_STATUS_LAUNCH_FAILURE: return "CURAND_STATUS_LAUNCH_FAILURE";
    case CURAND_STATUS_PREEXISTING_FAILURE: return "CURAND_STATUS_PREEXISTING_FAILURE";
    case CURAND_STATUS_INITIALIZATION_FAILED: return "CURAND_STATUS_INITIALIZATION_FAILED";
    case CURAND_STATUS_ARCH_MISMATCH: return "CURAND_STATUS_ARCH_MISMATCH";
    default: return "an unknown cuRAND error";
  }
}

}  // namespace

std::string memory_left() {
  std::size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return "the device doesn't say what is free";
  return concat(with_thousands(static_cast<std::int64_t>(free)), " of the device's ",
                with_thousands(static_cast<std::int64_t>(total)), " bytes are free");
}

void check(cudaError_t status, const CallSite& site) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that doesn't stick is reported once
  if (status == cudaErrorMemoryAllocation) lacks_memory(site);
  const bool other_card = status == cudaErrorNoKernelImageForDevice;
  fail_at(site, cudaGetErrorString(status), " (", cudaGetErrorName(status), ")",
          other_card ? ". Build again with this card among STAGEWISE_CUDA_ARCHITECTURES" : "");
}

void check(cudnnStatus_t status, const CallSite& site) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  if (status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED) lacks_memory(site);
  char details[1024] = "";
  cudnnGetLastErrorString(details, sizeof details);
  fail_at(site, cudnnGetErrorString(status), details[0] != '\0' ? ": " : "", details);
}

void check(curandStatus_t status, const CallSite& site) {
  if (status != CURAND_STATUS_SUCCESS) fail_at(site, name_of(status));
}

}  // namespace stagewise::cuda
