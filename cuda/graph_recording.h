// Recorded work as a CUDA graph: what a training step queues is captured once, and a replay is one launch for hundreds.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>

#include "cuda/workspace.h"
#include "tensor/backend.h"

namespace stagewise::cuda {

class GraphRecording final : public Recording {
 public:
  /// Captures what `work` queues on `stream`, and does it once. The buffers that it takes from `allocator` and gives
  /// back are the recording's own as long as it lives, and it keeps the plans' `workspace` (nullptr: there is none).
  /// Errors: throws Error where CUDA doesn't record it or lacks the memory, and what `work` throws: the stream takes
  /// work as before then, and nothing of `work` has been done on the device.
  GraphRecording(cudaStream_t stream, CachingAllocator& allocator, Workspace* workspace,
                 const std::function<void()>& work);
  ~GraphRecording() override;
  GraphRecording(const GraphRecording&) = delete;
  GraphRecording& operator=(const GraphRecording&) = delete;
  void replay() override;

 private:
  struct DestroyExecutable {
    void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
  };

  cudaStream_t stream_;
  CachingAllocator& allocator_;
  CachingAllocator::Buffers buffers_;
  Tensor workspace_;
  std::unique_ptr<CUgraphExec_st, DestroyExecutable> graph_;
};

}  // namespace stagewise::cuda
