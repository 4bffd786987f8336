#include "cpu/parallel.h"

#include <array>
#include <exception>
#include <new>
#include <utility>

#include "tensor/error.h"
#include "tensor/text.h"

namespace stagewise::cpu {
namespace {

// A loop ends within microseconds of its last item, and the next one mostly begins as soon; looking for some ten
// microseconds before sleeping saves a system call and the time to wake up.
constexpr int kLooks = 20000;

template <class Value>
void wait_while(const std::atomic<Value>& value, Value old) {
  for (int look = 0; look < kLooks; ++look) {
    if (value.load(std::memory_order_acquire) != old) return;
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (auto wanted = static_cast<std::size_t>(std::max(threads, 1)); !start(wanted);) {
    wanted = (workers_.size() + 1) / 2;
    stop();
  }
  shares_ = std::vector<Share>(workers_.size() + 1);
}

ThreadPool::~ThreadPool() { stop(); }

bool ThreadPool::start(std::size_t threads) {
  try {
    workers_.reserve(threads);
    while (workers_.size() + 1 < threads) {
      workers_.emplace_back([this, worker = workers_.size() + 1] { serve(worker); });
    }
  } catch (const std::exception&) {  // std::system_error for a thread, std::bad_alloc for what belongs to it
  }
  return workers_.size() + 1 >= threads;
}

void ThreadPool::stop() {
  stop_.store(true);
  loop_.fetch_add(1);
  loop_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  stop_.store(false);
  loop_.store(0);
}

void ThreadPool::run_erased(std::int64_t items, Function function, const void* body, Order order) {
  const std::lock_guard lock(callers_);
  function_ = function;
  body_ = body;
  items_ = items;
  if (order == Order::alternating) backwards_ = !backwards_;
  from_the_end_ = order == Order::alternating && backwards_;
  const auto threads = static_cast<std::int64_t>(shares_.size());
  for (std::int64_t thread = 0; thread < threads; ++thread) {
    Share& share = shares_[static_cast<std::size_t>(thread)];
    share.begin = thread * items / threads;
    share.end = (thread + 1) * items / threads;
    share.taken.store(0, std::memory_order_relaxed);
  }
  if (items > 1 && !workers_.empty()) {
    inside_.store(kOpen, std::memory_order_release);
    loop_.fetch_add(1, std::memory_order_release);
    loop_.notify_all();
    work(0);
    // Nothing is left for a worker that has not woken up by now: nobody waits for it.
    std::uint32_t inside = inside_.fetch_and(~kOpen, std::memory_order_acquire) & ~kOpen;
    for (; inside != 0; inside = inside_.load(std::memory_order_acquire)) wait_while(inside_, inside);
  } else {
    work(0);
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

/// The thread's own share, then what is left of the others'.
void ThreadPool::work(std::size_t thread) noexcept {
  for (std::size_t next = 0; next < shares_.size(); ++next) work_off(shares_[(thread + next) % shares_.size()]);
}

void ThreadPool::work_off(Share& share) noexcept {
  const std::int64_t items = share.end - share.begin;
  for (std::int64_t taken; (taken = share.taken.fetch_add(1, std::memory_order_relaxed)) < items;) {
    try {
      function_(body_, from_the_end_ ? share.end - 1 - taken : share.begin + taken);
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

void ThreadPool::serve(std::size_t thread) {
  for (std::uint32_t seen = 0;;) {
    wait_while(loop_, seen);
    seen = loop_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    if (!join()) continue;
    work(thread);
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
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
    buffer.data = static_cast<float*>(::operator new (bytes, std::align_val_t{64}, std::nothrow));
    if (buffer.data == nullptr) {
      throw OutOfMemory(concat("out of memory: ", with_thousands(static_cast<std::int64_t>(bytes)),
                               " bytes were asked for, of scratch memory for one thread"));
    }
    buffer.size = count;
  }
  return buffer.data;
}

}  // namespace stagewise::cpu
