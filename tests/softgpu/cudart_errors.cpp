// cudaGetLastError and the texts, and the C interface of softgpu.h.
#include <cstdio>
#include <cstring>
#include <memory>

#include "copies.h"
#include "interpreter.h"
#include "softgpu.h"
#include "streams.h"

using namespace softgpu;

namespace {

struct ErrorText {
  cudaError_t code;
  const char* name;
  const char* text;
};

#define SOFTGPU_ERROR(code, text) \
  { code, #code, text }
constexpr ErrorText error_texts[] = {
    SOFTGPU_ERROR(cudaSuccess, "no error"),
    SOFTGPU_ERROR(cudaErrorInvalidValue, "invalid argument"),
    SOFTGPU_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    SOFTGPU_ERROR(cudaErrorInitializationError, "initialization error"),
    SOFTGPU_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    SOFTGPU_ERROR(cudaErrorInvalidSymbol, "invalid device symbol"),
    SOFTGPU_ERROR(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    SOFTGPU_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    SOFTGPU_ERROR(cudaErrorMissingConfiguration, "__global__ function call is not configured"),
    SOFTGPU_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    SOFTGPU_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    SOFTGPU_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    SOFTGPU_ERROR(cudaErrorInvalidKernelImage, "device kernel image is invalid"),
    SOFTGPU_ERROR(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    SOFTGPU_ERROR(cudaErrorInvalidPtx, "a PTX JIT compilation failed"),
    SOFTGPU_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    SOFTGPU_ERROR(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    SOFTGPU_ERROR(cudaErrorNotReady, "device not ready"),
    SOFTGPU_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    SOFTGPU_ERROR(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    SOFTGPU_ERROR(cudaErrorAssert, "device-side assert triggered"),
    SOFTGPU_ERROR(cudaErrorHostMemoryAlreadyRegistered, "part or all of the requested memory range is already mapped"),
    SOFTGPU_ERROR(cudaErrorHostMemoryNotRegistered, "pointer does not correspond to a registered memory region"),
    SOFTGPU_ERROR(cudaErrorIllegalInstruction, "an illegal instruction was encountered"),
    SOFTGPU_ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    SOFTGPU_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    SOFTGPU_ERROR(cudaErrorNotSupported, "operation not supported"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureMerge, "operation would result in a merge of separate capture sequences"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureImplicit,
                  "operation would make the legacy stream depend on a capturing blocking stream"),
    SOFTGPU_ERROR(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
    SOFTGPU_ERROR(cudaErrorGraphExecUpdateFailure,
                  "the graph update was not performed because it included changes which violated constraints specific "
                  "to instantiated graph update"),
    SOFTGPU_ERROR(cudaErrorUnknown, "unknown error"),
};
#undef SOFTGPU_ERROR

const ErrorText& text_of(cudaError_t code) {
  static constexpr ErrorText unknown = {cudaErrorUnknown, "unrecognized error code", "unrecognized error code"};
  for (const ErrorText& each : error_texts) {
    if (each.code == code) return each;
  }
  return unknown;
}

}  // namespace

extern "C" {

const char* cudaGetErrorName(cudaError_t code) { return text_of(code).name; }
const char* cudaGetErrorString(cudaError_t code) { return text_of(code).text; }

cudaError_t cudaGetLastError(void) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  return take_last_error();
}
cudaError_t cudaPeekAtLastError(void) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  return peek_last_error();
}

void softgpu_enqueue(void* handle, const char* name, void (*work)(void*), void* argument, void (*destroy)(void*)) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  const std::shared_ptr<void> owned(argument, destroy);  // a graph's copies of the work share it
  Stream* const stream = find_stream(static_cast<cudaStream_t>(handle));
  if (stream) {
    enqueue(stream, "host work", name, [=] { work(owned.get()); });
  } else {
    report({cudaErrorInvalidResourceHandle, text("%s queued on a stream that isn't one", name)});
  }
}

void* softgpu_translate(const void* pointer, std::size_t bytes, int write) {
  try {
    return host_address(reinterpret_cast<std::uint64_t>(pointer), bytes, write != 0);
  } catch (const DeviceError& error) {
    report(error);
    return nullptr;
  }
}

void softgpu_report(const char* what) {
  report({cudaErrorLaunchFailure, running().empty() ? what : running() + ": " + what});
}

int softgpu_error(void) { return sticky_error(); }

void softgpu_forget_error(void) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  synchronise_device();
  forget_sticky_error();
}

int softgpu_set_order(const char* order) { return parse_order(order, settings()) ? 0 : 1; }
const char* softgpu_last_report(void) { return last_report().c_str(); }
uint64_t softgpu_instructions(void) { return instructions_executed(); }

}  // extern "C"
