#include "cpu/parallel.h"

#include <array>
#include <new>
#include <utility>

namespace stagewise::cpu {
namespace {

// A loop ends within microseconds of its last item; looking a few thousand times before sleeping saves a system call.
constexpr int kLooks = 4000;

template <class Value>
void wait_while(const std::atomic<Value>& value, Value old) {
  for (int look = 0; look < kLooks; ++look) {
    if (value.load(std::memory_order_acquire) != old) return;
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this] { serve(); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  loop_.fetch_add(1);
  loop_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(std::int64_t items, Function function, const void* body) {
  const std::lock_guard lock(callers_);
  function_ = function;
  body_ = body;
  items_ = items;
  next_.store(0, std::memory_order_relaxed);
  if (items > 1 && !workers_.empty()) {
    inside_.store(kOpen, std::memory_order_release);
    loop_.fetch_add(1, std::memory_order_release);
    loop_.notify_all();
    work();
    // Nothing is left for a worker that has not woken up by now: nobody waits for it.
    std::uint32_t inside = inside_.fetch_and(~kOpen, std::memory_order_acquire) & ~kOpen;
    for (; inside != 0; inside = inside_.load(std::memory_order_acquire)) wait_while(inside_, inside);
  } else {
    work();
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadPool::work() noexcept {
  for (std::int64_t item; (item = next_.fetch_add(1, std::memory_order_relaxed)) < items_;) {
    try {
      function_(body_, item);
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }
}

bool ThreadPool::join() {
  std::uint32_t inside = inside_.load(std::memory_order_relaxed);
  while (inside & kOpen) {
    if (inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void ThreadPool::serve() {
  for (std::uint32_t seen = 0;;) {
    wait_while(loop_, seen);
    seen = loop_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    if (!join()) continue;
    work();
    if (inside_.fetch_sub(1, std::memory_order_release) == 1) inside_.notify_one();
  }
}

float* scratch_floats(Scratch which, std::int64_t count) {
  struct Buffer {
    float* data = nullptr;
    std::int64_t size = 0;
    ~Buffer() { ::operator delete (data, std::align_val_t{64}); }
  };
  thread_local std::array<Buffer, static_cast<std::size_t>(Scratch::count)> buffers;
  Buffer& buffer = buffers.at(static_cast<std::size_t>(which));
  if (buffer.size < count) {
    ::operator delete (buffer.data, std::align_val_t{64});
    buffer = {};
    buffer.data =
        static_cast<float*>(::operator new (static_cast<std::size_t>(count) * sizeof(float), std::align_val_t{64}));
    buffer.size = count;
  }
  return buffer.data;
}

}  // namespace stagewise::cpu
