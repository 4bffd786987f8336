#include "cuda/workspace.h"

#include "tensor/backend.h"

namespace stagewise::cuda {

Tensor Workspace::of(Backend& backend, std::size_t bytes) {
  if (buffer_.defined() && buffer_.bytes() >= bytes) return buffer_;
  const Shape shape{static_cast<std::int64_t>(bytes)};
  if (!shared_ || recording_) return Tensor(backend, shape, DType::uint8);
  // The smaller one goes before the larger one comes, and back to the device: nobody will ask for its size again. What
  // is queued may still use it, and what recordings use they keep.
  buffer_ = Tensor();
  backend.allocator().trim();
  buffer_ = Tensor(backend, shape, DType::uint8);
  return buffer_;
}

Tensor Workspace::begin_recording() {
  recording_ = true;
  return buffer_;
}

}  // namespace stagewise::cuda
