// The scratch memory of cuDNN's plans. One buffer serves all of them, since they run one after another on one stream: it
// grows to what the largest wants, where a buffer a plan would keep the sum of all sizes.
#pragma once

#include "tensor/tensor.h"

namespace stagewise::cuda {

class Workspace {
 public:
  /// `shared` false: a buffer of its own for each call, in its exact size, so that a tool sees a plan that oversteps.
  explicit Workspace(bool shared) : shared_(shared) {}

  /// At least `bytes` bytes (uint8) of `backend`, whose work all runs on one stream, to be used by what is queued next.
  Tensor of(Backend& backend, std::size_t bytes);

  /// While a recording is made, which will always use the addresses that it used then: the buffer stays as it is, a
  /// call that wants more gets a buffer of its own, and the recording keeps the result as long as it lives.
  Tensor begin_recording();
  void end_recording() { recording_ = false; }

 private:
  bool shared_, recording_ = false;
  Tensor buffer_;
};

}  // namespace stagewise::cuda
