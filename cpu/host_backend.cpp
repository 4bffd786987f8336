#include "cpu/host_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "tensor/draws.h"

namespace stagewise {
namespace {

// Large buffers ask for pages of 2 MB: a pass over a feature map misses the TLB at every second row otherwise, which in
// a virtual machine costs a quarter of the bandwidth.
constexpr std::size_t kHugePage = 2 << 20;

std::align_val_t alignment(std::size_t bytes) { return std::align_val_t{bytes >= 2 * kHugePage ? kHugePage : 64}; }

CachingAllocator::Source host_memory() {
  return {[](std::size_t bytes) {
            void* const pointer = ::operator new(bytes, alignment(bytes));
            // A wish: without it the buffer is as good, only slower.
            if (bytes >= 2 * kHugePage) madvise(pointer, bytes, MADV_HUGEPAGE);
            return pointer;
          },
          [](void* pointer, std::size_t bytes) { ::operator delete(pointer, alignment(bytes)); }};
}

template <class T>
void fill_as(const Tensor& tensor, double value) {
  std::fill_n(tensor.data<T>(), tensor.count(), static_cast<T>(value));
}

}  // namespace

HostBackend::HostBackend(bool guarded) : allocator_(host_memory(), guarded) {}

void HostBackend::copy_from_host(const void* from, const Tensor& to) { std::memcpy(to.address(), from, to.bytes()); }

void HostBackend::copy_to_host(const Tensor& from, void* to) { std::memcpy(to, from.address(), from.bytes()); }

void HostBackend::copy(const Tensor& from, const Tensor& to) { std::memmove(to.address(), from.address(), to.bytes()); }

void HostBackend::fill(const Tensor& tensor, double value) {
  switch (tensor.dtype()) {
    case DType::uint8: return fill_as<std::uint8_t>(tensor, value);
    case DType::int32: return fill_as<std::int32_t>(tensor, value);
    case DType::bfloat16: return fill_as<BFloat16>(tensor, value);
    case DType::float32: return fill_as<float>(tensor, value);
    case DType::float64: return fill_as<double>(tensor, value);
  }
}

void HostBackend::draw_numbers(const DrawNumbers& call) {
  if (call.out.dtype() == DType::float64) return draw_on_host(call, call.out.data<double>());
  draw_on_host(call, call.out.data<float>());
}

void HostBackend::draw_augmentation(const DrawAugmentation& call) {
  const auto count = static_cast<std::size_t>(call.indices.count());
  draw_on_host(call, {call.indices.data<std::int32_t>(), count}, call.draws.data<std::int32_t>());
}

}  // namespace stagewise
