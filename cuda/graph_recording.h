// Recorded work as a CUDA graph: what a training step queues is captured once, and a replay is one launch for hundreds.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>

#include "tensor/backend.h"

namespace stagewise::cuda {

class GraphRecording final : public Recording {
 public:
  /// Captures what `work` queues on `stream`, and does it once. The buffers that it takes from `allocator` and gives
  /// back are the recording's own as long as it lives.
  GraphRecording(cudaStream_t stream, CachingAllocator& allocator, const std::function<void()>& work);
  ~GraphRecording() override;
  GraphRecording(const GraphRecording&) = delete;
  GraphRecording& operator=(const GraphRecording&) = delete;
  void replay() override;

 private:
  cudaStream_t stream_;
  CachingAllocator& allocator_;
  CachingAllocator::Buffers buffers_;
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace stagewise::cuda
