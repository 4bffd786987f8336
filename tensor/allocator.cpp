#include "tensor/allocator.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "tensor/error.h"
#include "tensor/text.h"

namespace stagewise {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kGuard = 64;
constexpr unsigned char kGuardByte = 0xA5;

}  // namespace

CachingAllocator::CachingAllocator(Source source, bool guarded) : source_(std::move(source)), guarded_(guarded) {
  if (!source_.set) {
    source_.set = [](void* pointer, unsigned char byte, std::size_t bytes) { std::memset(pointer, byte, bytes); };
  }
  if (!source_.holds) {
    source_.holds = [](const void* pointer, unsigned char byte, std::size_t bytes) {
      const auto* const start = static_cast<const unsigned char*>(pointer);
      return std::all_of(start, start + bytes, [byte](unsigned char found) { return found == byte; });
    };
  }
}

CachingAllocator::~CachingAllocator() { trim(); }

// Sizes in steps of an eighth of a power of two: few distinct ones, at most 12.5% wasted.
std::size_t CachingAllocator::rounded(std::size_t bytes) const {
  if (source_.exact) return std::max<std::size_t>(bytes, 1) + (guarded_ ? 2 * kGuard : 0);
  std::size_t step = kAlignment;
  while (step * 16 < bytes) step *= 2;
  return std::max((bytes + step - 1) / step * step, kAlignment) + (guarded_ ? 2 * kGuard : 0);
}

void* CachingAllocator::allocate(std::size_t bytes) {
  require(bytes <= kMaxBytes, "[allocator] expected a request of at most 2^62 bytes, got ", bytes);
  const std::size_t size = rounded(bytes);
  const std::lock_guard lock(mutex_);
  void* pointer = nullptr;
  if (auto found = free_.find(size); found != free_.end() && !found->second.empty()) {
    pointer = found->second.back();
    found->second.pop_back();
    statistics_.bytes_cached -= static_cast<std::int64_t>(size);
  } else {
    pointer = acquire(size);
    ++statistics_.system_allocations;
  }
  if (reserving_) handed_out_.insert(pointer);
  statistics_.bytes_in_use += static_cast<std::int64_t>(size);
  statistics_.peak_bytes_in_use = std::max(statistics_.peak_bytes_in_use, statistics_.bytes_in_use);
  return guarded_ ? guard(pointer, bytes) : pointer;
}

void* CachingAllocator::acquire(std::size_t size) {
  try {
    return source_.acquire(size);
  } catch (const std::bad_alloc&) {
    if (!reserving_) release_cached();  // what was handed out since then has to stay where it is
  }
  try {
    return source_.acquire(size);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(concat("out of memory: ", with_thousands(static_cast<std::int64_t>(size)),
                             " bytes were asked for, ", with_thousands(statistics_.bytes_in_use), " are in use",
                             source_.left ? ", " + source_.left() : ""));
  }
}

void* CachingAllocator::guard(void* pointer, std::size_t bytes) const {
  auto* const start = static_cast<unsigned char*>(pointer);
  source_.set(start, kGuardByte, kGuard);
  if (bytes > 0) source_.set(start + kGuard, 0xFF, bytes);
  source_.set(start + kGuard + bytes, kGuardByte, kGuard);
  return start + kGuard;
}

bool CachingAllocator::guards_stand(const void* buffer, std::size_t bytes) const {
  const auto* const start = static_cast<const unsigned char*>(buffer);
  return source_.holds(start - kGuard, kGuardByte, kGuard) && source_.holds(start + bytes, kGuardByte, kGuard);
}

void CachingAllocator::deallocate(void* pointer, std::size_t bytes) noexcept {
  if (pointer == nullptr) return;
  const std::size_t size = rounded(bytes);
  const std::lock_guard lock(mutex_);
  if (guarded_) {
    if (!guards_stand(pointer, bytes)) ++statistics_.guard_violations;
    pointer = static_cast<unsigned char*>(pointer) - kGuard;
  }
  statistics_.bytes_in_use -= static_cast<std::int64_t>(size);
  if (source_.exact) return source_.release(pointer, size);
  statistics_.bytes_cached += static_cast<std::int64_t>(size);
  free_[size].push_back(pointer);
}

void CachingAllocator::begin_reservation() {
  const std::lock_guard lock(mutex_);
  reserving_ = true;
}

CachingAllocator::Buffers CachingAllocator::end_reservation() {
  const std::lock_guard lock(mutex_);
  Buffers buffers;
  for (auto& [size, pointers] : free_) {
    const auto kept = std::partition(pointers.begin(), pointers.end(),
                                     [this](void* pointer) { return !handed_out_.contains(pointer); });
    for (auto pointer = kept; pointer != pointers.end(); ++pointer) {
      buffers.emplace_back(size, *pointer);
      statistics_.bytes_cached -= static_cast<std::int64_t>(size);
    }
    pointers.erase(kept, pointers.end());
  }
  reserving_ = false;
  handed_out_.clear();
  return buffers;
}

void CachingAllocator::give_back(const Buffers& buffers) noexcept {
  const std::lock_guard lock(mutex_);
  for (const auto& [size, pointer] : buffers) {
    free_[size].push_back(pointer);
    statistics_.bytes_cached += static_cast<std::int64_t>(size);
  }
}

void CachingAllocator::trim() noexcept {
  const std::lock_guard lock(mutex_);
  release_cached();
}

void CachingAllocator::release_cached() noexcept {
  for (auto& [size, pointers] : free_) {
    for (void* pointer : pointers) source_.release(pointer, size);
  }
  free_.clear();
  statistics_.bytes_cached = 0;
}

CachingAllocator::Statistics CachingAllocator::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace stagewise
