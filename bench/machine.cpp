#include "bench/machine.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <vector>

#include "bench/roof_kernels.h"
#include "cpu/cpu_backend.h"
#include "cpu/parallel.h"

namespace stagewise::bench {
namespace {

const cpu::RoofKernels& kernels() {
#if defined(__x86_64__)
  const std::string best = cpu_instruction_sets().front();
  if (best == "avx512") return cpu::avx512::roof_kernels;
  if (best == "avx2") return cpu::avx2::roof_kernels;
#elif defined(__aarch64__)
  return cpu::neon::roof_kernels;
#endif
  return cpu::portable::roof_kernels;
}

double median_seconds(const std::function<void()>& work) {
  std::vector<double> seconds;
  for (int i = 0; i < 9; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + 4, seconds.end());
  return seconds[4];
}

}  // namespace

Roof measure_roof(int threads) {
  cpu::ThreadPool pool(threads);
  std::vector<float> results(static_cast<std::size_t>(threads) * 16);
  constexpr std::int64_t kRounds = 4'000'000;
  const auto count = static_cast<double>(threads);
  const double arithmetic = median_seconds([&] {
    pool.run(threads, [&](std::int64_t item) {
      results[static_cast<std::size_t>(item) * 16] = kernels().multiply_add(kRounds);
    });
  });
  // Far beyond the last-level cache.
  constexpr std::int64_t kFloats = 32 << 20;
  std::vector<float> from(kFloats, 1.0f), to(kFloats);
  const std::int64_t part = kFloats / threads / 1024 * 1024;
  const double read = median_seconds([&] {
    pool.run(threads, [&](std::int64_t item) {
      results[static_cast<std::size_t>(item) * 16] = kernels().read(from.data() + item * part, part);
    });
  });
  const double copy = median_seconds([&] {
    pool.run(threads,
             [&](std::int64_t item) { kernels().copy(from.data() + item * part, to.data() + item * part, part); });
  });
  const double bytes = 4.0 * static_cast<double>(part) * count;
  return {1e-9 * count * static_cast<double>(kRounds * kernels().flops_per_round) / arithmetic,
          1e-9 * std::max(bytes / read, 2 * bytes / copy)};
}

void OtherWork::restart() {
  std::ifstream stat("/proc/stat");
  std::string name;
  std::array<double, 8> ticks{};  // user nice system idle iowait irq softirq steal
  stat >> name;
  for (double& value : ticks) stat >> value;
  const auto second = static_cast<double>(sysconf(_SC_CLK_TCK));
  total_ = 0;
  for (const double value : ticks) total_ += value / second;
  busy_ = total_ - (ticks[3] + ticks[4]) / second;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  own_ = seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double OtherWork::share() const {
  OtherWork now = *this;
  now.restart();
  const double total = now.total_ - total_;
  return total > 0 ? std::clamp(((now.busy_ - busy_) - (now.own_ - own_)) / total, 0.0, 1.0) : 0.0;
}

std::map<std::string, double> thread_seconds() {
  std::map<std::string, double> seconds;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream statistics(thread.path() / "schedstat");  // first, nanoseconds on a processor
    if (double nanoseconds = 0; statistics >> nanoseconds) seconds[thread.path().filename()] = 1e-9 * nanoseconds;
  }
  return seconds;
}

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string commit() {
  std::string name;
  if (FILE* const pipe = popen("git -C " STAGEWISE_SOURCE_DIR " describe --always --dirty 2>/dev/null", "r")) {
    std::array<char, 128> buffer{};
    while (fgets(buffer.data(), buffer.size(), pipe) != nullptr) name += buffer.data();
    pclose(pipe);
  }
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return name.empty() ? "unknown" : name;
}

int cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(CPU_COUNT(&set), 1) : 1;
}

}  // namespace stagewise::bench
