// What every file of the stand-in libcudart shares: settings, the sticky error, reports, and the frame of an API call.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <mutex>
#include <string>

namespace softgpu {

enum class Order { forward, reverse, random };

/// Read once from the environment (README.md lists the variables).
struct Settings {
  Order order = Order::forward;
  std::uint64_t seed = 0;
  bool lazy_streams = true;
  bool lanes_apart = false;                 // SOFTGPU_LANES=apart: the threads of a warp run one after another
  bool check_races = true;                  // SOFTGPU_IGNORE=races
  bool check_uninitialised = true;          // SOFTGPU_IGNORE=uninitialised
  int compute_capability = 90;              // SOFTGPU_DEVICE=sm_90
  std::uint64_t memory_bytes = 8ull << 30;  // SOFTGPU_MEMORY, in MiB
  bool bits_promised = false;               // SOFTGPU_BITS=1: the same bits again, whatever the order
  bool trace = false;                       // SOFTGPU_TRACE=1: prints each piece of work as it runs
  bool report_leaks = false;                // SOFTGPU_LEAKS=1: at exit
};
Settings& settings();

/// "forward", "reverse" or "random:SEED"; false where `text` is none of them.
bool parse_order(const std::string& text, Settings& settings);

/// A mistake of running work: what() is the whole report.
struct DeviceError {
  cudaError_t code;
  std::string message;
};

/// The name of the work that is running, for reports.
void set_running(const std::string& name);
const std::string& running();

/// Prints a report and makes its code the sticky error.
void report(const DeviceError& error);
/// Prints what the host did wrong and keeps it as the last report; nothing sticks. Returns `code`.
cudaError_t refuse(cudaError_t code, const std::string& what);
const std::string& last_report();

cudaError_t sticky_error();
void forget_sticky_error();

/// Sets what cudaGetLastError returns; passes `code` on.
cudaError_t remember(cudaError_t code);
cudaError_t take_last_error();
cudaError_t peek_last_error();

std::recursive_mutex& global_lock();

/// Every API function runs its body in here: one at a time, refused once an error sticks, its result remembered.
template <class Body>
cudaError_t api(const Body& body) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  if (sticky_error() != cudaSuccess) return sticky_error();
  const cudaError_t code = body();
  return remember(sticky_error() != cudaSuccess ? sticky_error() : code);
}

/// A host address's or kernel's name for people: C++ names demangled, without their parameter lists.
std::string demangled(const std::string& name);

template <class... Parts>
std::string text(const char* format, Parts... parts) {
  const int length = std::snprintf(nullptr, 0, format, parts...);
  std::string result(static_cast<std::size_t>(length), '\0');
  std::snprintf(result.data(), result.size() + 1, format, parts...);
  return result;
}

}  // namespace softgpu
