// Where buffers come from. A training step asks for the same sizes again and again, so freed buffers are kept and
// handed out again: after the first steps nothing is asked of the system any more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace stagewise {

class CachingAllocator {
 public:
  /// How a device gets and gives back raw memory. `acquire` throws Error or std::bad_alloc when there is none.
  struct Source {
    std::function<void*(std::size_t bytes)> acquire;
    std::function<void(void*, std::size_t bytes)> release;
    /// How guard bytes are written and whether they still stand; left empty, the memory is the host's.
    std::function<void(void*, unsigned char byte, std::size_t bytes)> set = {};
    std::function<bool(const void*, unsigned char byte, std::size_t bytes)> holds = {};
    /// What is left, for the message when there is not enough: `1,024 of 8,388,608 bytes are free`. May be empty.
    std::function<std::string()> left = {};
    /// For tests: every buffer is asked of the source, in its exact size, and given back when it is freed, so that a
    /// tool that watches the source's memory sees each tensor by itself.
    bool exact = false;
  };
  struct Statistics {
    std::int64_t system_allocations = 0;  // how often memory was asked of the system
    std::int64_t bytes_in_use = 0;
    std::int64_t bytes_cached = 0;  // free, kept for the next request
    std::int64_t peak_bytes_in_use = 0;
    std::int64_t guard_violations = 0;  // buffers whose guard bytes were written over (guarded mode only)
  };

  /// `guarded` is for tests: every buffer lies between 64 guard bytes that are checked when it is
  /// freed, and starts as all-ones bytes (NaN in float32 and float64), so reading before writing shows.
  explicit CachingAllocator(Source source, bool guarded = false);
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  /// The most bytes of one buffer: a size beyond it could wrap round when it is rounded up.
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 62;

  /// At least `bytes` bytes, aligned to 64. Thread-safe. Where the source throws std::bad_alloc, what is cached is
  /// given back first and the source asked again. Errors: throws Error for more than kMaxBytes, OutOfMemory with the
  /// bytes asked for, in use and left when std::bad_alloc comes again, and what else the source throws.
  void* allocate(std::size_t bytes);
  /// Gives back what allocate(bytes) returned; never throws.
  void deallocate(void* pointer, std::size_t bytes) noexcept;
  using Buffers = std::vector<std::pair<std::size_t, void*>>;
  /// For work that is recorded and repeated on the same memory: from begin to end it is noted what is handed out, and
  /// what of it is free again at the end is set aside. Nobody else gets those buffers before they are given back.
  void begin_reservation();
  Buffers end_reservation();
  void give_back(const Buffers& buffers) noexcept;
  /// Returns the cached buffers to the system.
  void trim() noexcept;
  Statistics statistics() const;

 private:
  std::size_t rounded(std::size_t bytes) const;
  void* acquire(std::size_t size);
  void release_cached() noexcept;
  void* guard(void* pointer, std::size_t bytes) const;
  bool guards_stand(const void* buffer, std::size_t bytes) const;

  Source source_;
  const bool guarded_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
  bool reserving_ = false;
  std::set<void*> handed_out_;  // while reserving
  Statistics statistics_;
};

}  // namespace stagewise
