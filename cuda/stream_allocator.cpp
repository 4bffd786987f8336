#include "cuda/stream_allocator.h"

#include <algorithm>
#include <vector>

#include "cuda/check.h"

namespace stagewise::cuda {
namespace {

/// While `stream` is captured into a graph, memory asked of it would be the graph's: then it comes from another one,
/// and is there before anything is queued behind.
void* acquire(cudaStream_t stream, std::size_t bytes) {
  void* pointer = nullptr;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  STAGEWISE_CHECK(cudaStreamIsCapturing(stream, &capture));
  if (capture == cudaStreamCaptureStatusNone) {
    STAGEWISE_CHECK_MEMORY(cudaMallocAsync(&pointer, bytes, stream), bytes);
    return pointer;
  }
  cudaStream_t beside = nullptr;
  STAGEWISE_CHECK(cudaStreamCreateWithFlags(&beside, cudaStreamNonBlocking));
  const cudaError_t status = cudaMallocAsync(&pointer, bytes, beside);
  cudaStreamSynchronize(beside);
  cudaStreamDestroy(beside);
  STAGEWISE_CHECK_MEMORY(status, bytes);
  return pointer;
}

}  // namespace

CachingAllocator::Source stream_memory(cudaStream_t stream, bool exact) {
  CachingAllocator::Source source;
  source.acquire = [stream, exact](std::size_t bytes) {
    void* const pointer = acquire(stream, bytes);
    if (exact) STAGEWISE_CHECK(cudaMemsetAsync(pointer, 0xFF, bytes, stream));
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
  source.exact = exact;
  return source;
}

}  // namespace stagewise::cuda
