#include "cuda/graph_recording.h"

#include "cuda/check.h"

namespace stagewise::cuda {
namespace {

/// What `work` queues. Relaxed: the allocator may still ask for memory, on another stream (stream_allocator.cpp).
cudaGraph_t captured(cudaStream_t stream, const std::function<void()>& work) {
  cudaGraph_t graph = nullptr;
  STAGEWISE_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  try {
    work();
  } catch (...) {
    if (cudaStreamEndCapture(stream, &graph) == cudaSuccess) cudaGraphDestroy(graph);
    throw;
  }
  STAGEWISE_CHECK(cudaStreamEndCapture(stream, &graph));
  return graph;
}

}  // namespace

GraphRecording::GraphRecording(cudaStream_t stream, CachingAllocator& allocator, const std::function<void()>& work)
    : stream_(stream), allocator_(allocator) {
  allocator_.begin_reservation();
  cudaGraph_t graph = nullptr;
  try {
    graph = captured(stream, work);
    STAGEWISE_CHECK(cudaGraphInstantiate(&graph_, graph, 0));
  } catch (...) {
    if (graph != nullptr) cudaGraphDestroy(graph);
    allocator_.give_back(allocator_.end_reservation());
    throw;
  }
  cudaGraphDestroy(graph);
  buffers_ = allocator_.end_reservation();
  replay();
}

// What comes after on the stream waits for the last replay, so the buffers may go at once.
GraphRecording::~GraphRecording() {
  cudaGraphExecDestroy(graph_);
  allocator_.give_back(buffers_);
}

void GraphRecording::replay() { STAGEWISE_CHECK(cudaGraphLaunch(graph_, stream_)); }

}  // namespace stagewise::cuda
