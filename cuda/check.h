// Every call of CUDA, cuDNN and cuRAND goes through one macro: a failure becomes an Error that names the call, its
// place and the library's own words.
#pragma once

#include <cuda_runtime_api.h>
#include <cudnn_graph.h>
#include <curand.h>

#include <string>

namespace stagewise::cuda {

/// Where a call stands, for the message.
struct CallSite {
  const char* call;
  const char* file;
  int line;
};

/// What is free on the device, for a message: `1,024 of the device's 8,388,608 bytes are free`.
std::string memory_left();

/// Errors: throws Error `[cuda] cudaSetDevice(0) failed at cuda/cuda_backend.cpp:40: invalid device ordinal
/// (cudaErrorInvalidDevice)` unless `status` says success, and OutOfMemory where it says that memory is wanting.
void check(cudaError_t status, const CallSite& site);
void check(cudnnStatus_t status, const CallSite& site);
void check(curandStatus_t status, const CallSite& site);

/// `path` from the project's folder on.
constexpr const char* project_path(const char* path) {
  const char* last = path;
  const char* before = path;
  for (const char* at = path; *at != '\0'; ++at) {
    if (*at == '/') before = last, last = at + 1;
  }
  return before;
}

}  // namespace stagewise::cuda

#define STAGEWISE_CALL_SITE(call) \
  ::stagewise::cuda::CallSite { call, ::stagewise::cuda::project_path(__FILE__), __LINE__ }

/// Checks one call: STAGEWISE_CHECK(cudaSetDevice(0)).
#define STAGEWISE_CHECK(call) ::stagewise::cuda::check((call), STAGEWISE_CALL_SITE(#call))
/// Stands right behind a launch: STAGEWISE_CHECK_LAUNCH(add_kernel). What goes wrong while a kernel runs shows later,
/// at the next call that waits.
#define STAGEWISE_CHECK_LAUNCH(kernel) \
  ::stagewise::cuda::check(cudaGetLastError(), STAGEWISE_CALL_SITE("launch of " #kernel))
