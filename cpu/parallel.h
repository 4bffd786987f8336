// Threads that share a loop. The items of a loop are cut by the problem's size, never by the number of threads, and
// each item writes only its own results; so it does not matter who computes what, and the bits are the same for any
// number. It matters for speed: a thread begins with the same share of every loop, so that it mostly reads what it
// wrote itself, from its own caches, and helps the others when it is done.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace stagewise::cpu {

class ThreadPool {
 public:
  /// `threads` - 1 workers; the caller of `run` is one more. Where the system doesn't give as many (a limit on memory
  /// or processes), there are fewer, which threads() tells: half of those it gave, because the work itself needs
  /// memory.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(0) ... body(items - 1), each once, and returns when all are done. Rethrows the first exception. One
  /// caller at a time: others wait. Must not be called from a body.
  template <class Body>
  void run(std::int64_t items, const Body& body) {
    run_erased(items, call<Body>, &body, Order::forwards);
  }

  /// The same, but in every other call the threads go through their shares from the last item to the first: a loop over
  /// a batch then begins with what the loop before it touched last, which is still in the cache.
  template <class Body>
  void sweep(std::int64_t items, const Body& body) {
    run_erased(items, call<Body>, &body, Order::alternating);
  }
  /// During a sweep: the item that follows `item` for the same thread, if it has one. For prefetching only.
  std::int64_t after(std::int64_t item) const {
    return std::clamp<std::int64_t>(item + (from_the_end_ ? -1 : 1), 0, items_ - 1);
  }

 private:
  using Function = void (*)(const void* body, std::int64_t item);
  template <class Body>
  static void call(const void* body, std::int64_t item) {
    (*static_cast<const Body*>(body))(item);
  }
  /// A thread's share of a loop: items [begin, end), of which the first `taken` have been taken, by whomever.
  struct alignas(64) Share {
    std::atomic<std::int64_t> taken{0};
    std::int64_t begin = 0, end = 0;
  };
  enum class Order { forwards, alternating };
  /// Starts workers until there are `threads` in all; false when the system gave fewer.
  bool start(std::size_t threads);
  void stop();
  void run_erased(std::int64_t items, Function function, const void* body, Order order);
  void work(std::size_t thread) noexcept;
  void work_off(Share& share) noexcept;
  bool join();
  void serve(std::size_t thread);

  static constexpr std::uint32_t kOpen = 1u << 31;

  // Of the loop that runs; `callers_` guards them.
  std::mutex callers_;
  bool backwards_ = false;  // the sweep that runs, or ran last
  Function function_ = nullptr;
  const void* body_ = nullptr;
  std::int64_t items_ = 0;
  bool from_the_end_ = false;
  std::vector<Share> shares_;  // one a thread, each on a cache line of its own
  std::exception_ptr error_;
  std::mutex error_mutex_;
  // Each on its own cache line: workers wait on the first, the caller on the second.
  alignas(64) std::atomic<std::uint32_t> loop_{0};
  alignas(64) std::atomic<std::uint32_t> inside_{0};  // workers in the loop, and kOpen while more may join
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

/// A thread's scratch buffers, by what is in them.
enum class Scratch {
  staged,
  zeros,
  input_columns,
  input,
  products,
  halves,
  gradient_columns,
  gradient,
  filter,
  padded,
  // Elements of feature maps stored in bfloat16, widened: of what is read, and of what is written.
  first_map,
  second_map,
  third_map,
  result,
  count
};

/// Scratch memory of the calling thread: at least `count` floats, aligned to 64 bytes, kept until asked for more.
/// Errors: throws OutOfMemory.
float* scratch_floats(Scratch buffer, std::int64_t count);

}  // namespace stagewise::cpu
