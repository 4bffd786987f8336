#include "cuda/graph_recording.h"

#include "cuda/check.h"

namespace stagewise::cuda {
namespace {

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using Graph = std::unique_ptr<CUgraph_st, DestroyGraph>;

/// What `work` queues. Relaxed: the allocator may still ask for memory, on another stream (stream_allocator.cpp).
Graph captured(cudaStream_t stream, const std::function<void()>& work) {
  cudaGraph_t graph = nullptr;
  STAGEWISE_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    cudaGetLastError();  // `work` has told what was wrong
    Graph{graph};
    throw;
  }
  STAGEWISE_CHECK(cudaStreamEndCapture(stream, &graph));
  return Graph(graph);
}

/// What is taken of memory while it lives is the recording's.
class Reservation {
 public:
  Reservation(CachingAllocator& allocator, Workspace* workspace) : allocator_(allocator), workspace_(workspace) {
    allocator_.begin_reservation();
    if (workspace_ != nullptr) kept_ = workspace_->begin_recording();
  }
  ~Reservation() {
    if (workspace_ != nullptr) workspace_->end_recording();
    if (!taken_) allocator_.give_back(allocator_.end_reservation());
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  CachingAllocator::Buffers take() {
    taken_ = true;
    return allocator_.end_reservation();
  }
  const Tensor& workspace() const { return kept_; }

 private:
  CachingAllocator& allocator_;
  Workspace* workspace_;
  Tensor kept_;
  bool taken_ = false;
};

}  // namespace

GraphRecording::GraphRecording(cudaStream_t stream, CachingAllocator& allocator, Workspace* workspace,
                               const std::function<void()>& work)
    : stream_(stream), allocator_(allocator) {
  Reservation reservation(allocator, workspace);
  const Graph graph = captured(stream, work);
  cudaGraphExec_t executable = nullptr;
  STAGEWISE_CHECK(cudaGraphInstantiate(&executable, graph.get(), 0));
  graph_.reset(executable);
  replay();
  buffers_ = reservation.take();
  workspace_ = reservation.workspace();
}

// What comes after on the stream waits for the last replay, so the buffers may go at once.
GraphRecording::~GraphRecording() { allocator_.give_back(buffers_); }

void GraphRecording::replay() { STAGEWISE_CHECK(cudaGraphLaunch(graph_.get(), stream_)); }

}  // namespace stagewise::cuda
