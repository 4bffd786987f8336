#include "traffic.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "memory.h"
#include "races.h"
#include "runtime.h"
#include "softgpu.h"
#include "streams.h"

namespace softgpu {
namespace {

struct Counter {
  bool on = std::getenv("SOFTGPU_COUNT") != nullptr;
  std::map<std::string, softgpu_traffic> by_name;
};

Counter& counter() {
  static auto* const instance = new Counter;
  return *instance;
}

softgpu_traffic sum_of(const char* part) {
  softgpu_traffic sum{};
  for (const auto& [name, traffic] : counter().by_name) {
    if (name.find(part) == std::string::npos) continue;
    sum.works += traffic.works;
    sum.bytes_read += traffic.bytes_read;
    sum.bytes_written += traffic.bytes_written;
  }
  return sum;
}

void print(const char* name, const softgpu_traffic& of) {
  std::fprintf(stderr, "softgpu: %8llu %15llu %15llu  %s\n", static_cast<unsigned long long>(of.works),
               static_cast<unsigned long long>(of.bytes_read), static_cast<unsigned long long>(of.bytes_written), name);
}

}  // namespace

bool counts_traffic() { return counter().on; }

void count_traffic(const std::string& name) {
  const DeviceMemory& memory = DeviceMemory::instance();
  const std::uint64_t work = current_work_id();
  softgpu_traffic& traffic = counter().by_name[name];
  ++traffic.works;
  for (const Allocation& each : memory.living()) {
    const AccessCell* const cells = memory.cells_at(each.address);
    for (std::uint64_t i = 0; i < (each.bytes + 3) / 4; ++i) {
      traffic.bytes_read += bytes_of(cells[i], work, false);
      traffic.bytes_written += bytes_of(cells[i], work, true);
    }
  }
}

}  // namespace softgpu

using namespace softgpu;

extern "C" {

void softgpu_count_traffic(int on) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  counter().on = on != 0;
  if (on != 0) counter().by_name.clear();  // what was counted stays to be read
}

softgpu_traffic softgpu_counted(const char* part) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  return sum_of(part);
}

void softgpu_print_traffic(void) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  std::vector<std::pair<std::string, softgpu_traffic>> all(counter().by_name.begin(), counter().by_name.end());
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.second.bytes_read + a.second.bytes_written > b.second.bytes_read + b.second.bytes_written;
  });
  std::fprintf(stderr, "softgpu: %8s %15s %15s\n", "runs", "bytes read", "bytes written");
  for (const auto& [name, traffic] : all) print(name.c_str(), traffic);
  print("in all", sum_of(""));
}

}  // extern "C"

namespace {
/// SOFTGPU_COUNT: when the program ends.
struct TrafficAtExit {
  ~TrafficAtExit() {
    if (std::getenv("SOFTGPU_COUNT") != nullptr) softgpu_print_traffic();
  }
} traffic_at_exit;
}  // namespace
