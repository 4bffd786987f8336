#include "cuda/stream_allocator.h"

#include <algorithm>
#include <new>
#include <vector>

#include "cuda/check.h"

namespace stagewise::cuda {
namespace {

bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  STAGEWISE_CHECK(cudaStreamIsCapturing(stream, &capture));
  return capture != cudaStreamCaptureStatusNone;
}

/// nullptr where there is not enough.
void* try_to_acquire(cudaStream_t stream, std::size_t bytes) {
  void* pointer = nullptr;
  const cudaError_t status = cudaMallocAsync(&pointer, bytes, stream);
  if (status != cudaErrorMemoryAllocation) {
    check(status, STAGEWISE_CALL_SITE("cudaMallocAsync"));
    return pointer;
  }
  cudaGetLastError();
  return nullptr;
}

/// While a stream is captured into a graph, memory asked of it would be the graph's: then it comes from another one,
/// and is there before anything is queued behind.
void* try_to_acquire_beside_capture(std::size_t bytes) {
  cudaStream_t beside = nullptr;
  STAGEWISE_CHECK(cudaStreamCreateWithFlags(&beside, cudaStreamNonBlocking));
  void* const pointer = try_to_acquire(beside, bytes);
  cudaStreamSynchronize(beside);
  cudaStreamDestroy(beside);
  return pointer;
}

/// Errors: throws std::bad_alloc when there is not enough, even after all that was freed has come back.
void* acquire(cudaStream_t stream, std::size_t bytes) {
  void* pointer = nullptr;
  if (is_capturing(stream)) {
    pointer = try_to_acquire_beside_capture(bytes);
  } else if (pointer = try_to_acquire(stream, bytes); pointer == nullptr) {
    STAGEWISE_CHECK(cudaStreamSynchronize(stream));  // what is freed goes back to the device when its stream gets there
    pointer = try_to_acquire(stream, bytes);
  }
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

}  // namespace

CachingAllocator::Source stream_memory(cudaStream_t stream, bool exact, bool filled) {
  CachingAllocator::Source source;
  source.acquire = [stream, filled](std::size_t bytes) {
    void* const pointer = acquire(stream, bytes);
    if (filled) STAGEWISE_CHECK(cudaMemsetAsync(pointer, 0xFF, bytes, stream));
    return pointer;
  };
  // Freed from destructors: a failure shows at the next call that can throw.
  source.release = [stream](void* pointer, std::size_t) { cudaFreeAsync(pointer, stream); };
  source.set = [stream](void* pointer, unsigned char byte, std::size_t bytes) {
    STAGEWISE_CHECK(cudaMemsetAsync(pointer, byte, bytes, stream));
  };
  source.holds = [stream](const void* pointer, unsigned char byte, std::size_t bytes) {
    std::vector<unsigned char> found(bytes);
    if (cudaMemcpyAsync(found.data(), pointer, bytes, cudaMemcpyDeviceToHost, stream) != cudaSuccess ||
        cudaStreamSynchronize(stream) != cudaSuccess) {
      return false;
    }
    return std::all_of(found.begin(), found.end(), [byte](unsigned char value) { return value == byte; });
  };
  source.left = memory_left;
  source.exact = exact;
  return source;
}

}  // namespace stagewise::cuda
