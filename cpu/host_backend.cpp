#include "cpu/host_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "tensor/random.h"

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

template <class T>
void draw_as(const DrawNumbers& call) {
  const Random random(call.seed, call.stream);
  const bool normal = call.distribution == DrawNumbers::Distribution::normal;
  for (std::int64_t i = 0; i < call.out.count(); ++i) {
    const auto index = static_cast<std::uint64_t>(i);
    const double number = normal ? random.normal(index) : 2.0 * random.uniform(index) - 1.0;
    call.out.data<T>()[i] = static_cast<T>(call.scale * number);
  }
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
  if (call.out.dtype() == DType::float64) return draw_as<double>(call);
  draw_as<float>(call);
}

void HostBackend::draw_augmentation(const DrawAugmentation& call) {
  const Random random(call.seed, call.stream), random_flip(call.seed, call.flip_stream),
      random_cutout(call.seed, call.cutout_stream);
  const auto flip_of = [&](std::int32_t index, std::uint64_t number) -> std::uint64_t {
    switch (call.flip) {
      case Flip::none: return 0;
      case Flip::random: return random.below(number, 2);
      case Flip::alternating:
        return random_flip.below(static_cast<std::uint64_t>(index), 2) ^ (call.odd_epoch ? 1U : 0U);
    }
    return 0;
  };
  const auto shift = [&](std::uint64_t index, std::int64_t padding) {
    const auto drawn = random.below(index, static_cast<std::uint64_t>(2 * padding + 1));
    return static_cast<std::int32_t>(static_cast<std::int64_t>(drawn) - padding);
  };
  const auto cutout_start = [&](std::uint64_t index, std::int64_t size) -> std::int32_t {
    if (call.cutout == 0) return 0;
    const auto centre = static_cast<std::int64_t>(random_cutout.below(index, static_cast<std::uint64_t>(size)));
    return static_cast<std::int32_t>(centre - call.cutout / 2);
  };
  for (std::int64_t b = 0; b < call.indices.count(); ++b) {
    const auto place = static_cast<std::uint64_t>(call.first_place + b), number = 3 * place;
    std::int32_t* const draw = call.draws.data<std::int32_t>() + 6 * b;
    draw[0] = call.indices.data<std::int32_t>()[b];
    draw[1] = shift(number, call.row_padding);
    draw[2] = shift(number + 1, call.column_padding);
    draw[3] = static_cast<std::int32_t>(flip_of(draw[0], number + 2));
    draw[4] = cutout_start(2 * place, call.height);
    draw[5] = cutout_start(2 * place + 1, call.width);
  }
}

}  // namespace stagewise
