#include "bench/report.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "cpu/cpu_backend.h"

namespace stagewise::bench {
namespace {

// Above this share of other processes' time a row is marked.
constexpr double kDisturbed = 0.05;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

}  // namespace

Roofs note_machine() {
  const Roofs roofs{measure_roof(1), measure_roof(cores())};
  benchmark::AddCustomContext("machine", processor());
  benchmark::AddCustomContext("cores", std::to_string(cores()));
  benchmark::AddCustomContext("instruction_set", cpu_instruction_sets().front());
  benchmark::AddCustomContext("commit", commit());
  benchmark::AddCustomContext("compiler", __VERSION__);
  benchmark::AddCustomContext("peak_gflops_one", number(roofs.one.gflops));
  benchmark::AddCustomContext("peak_gflops_all", number(roofs.all.gflops));
  benchmark::AddCustomContext("bandwidth_gbs_one", number(roofs.one.gigabytes));
  benchmark::AddCustomContext("bandwidth_gbs_all", number(roofs.all.gigabytes));
  std::printf("%s, %d cores, %s, commit %s\n", processor().c_str(), cores(), cpu_instruction_sets().front().c_str(),
              commit().c_str());
  std::printf("roofs: one thread %.0f GFLOP/s and %.1f GB/s, all %.0f GFLOP/s and %.1f GB/s\n\n", roofs.one.gflops,
              roofs.one.gigabytes, roofs.all.gflops, roofs.all.gigabytes);
  return roofs;
}

void count(benchmark::State& state, double flops, double bytes, const Roof& roof) {
  using benchmark::Counter;
  const double arithmetic = 1e-9 * flops / roof.gflops, memory = 1e-9 * bytes / roof.gigabytes;
  state.counters["GFLOP/s"] = Counter(1e-9 * flops, Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] = Counter(1e-9 * bytes, Counter::kIsIterationInvariantRate);
  state.counters["roof"] = Counter(std::max(arithmetic, memory), Counter::kIsIterationInvariantRate);
  state.counters["intensity"] = Counter(bytes > 0 ? flops / bytes : 0);
  state.SetLabel(arithmetic > memory ? "arithmetic" : "memory");
}

bool TableReporter::ReportContext(const Context&) {
  std::printf("%-64s %10s %7s %9s %7s %6s  %s\n", "", "median", "spread", "GFLOP/s", "GB/s", "roof", "bound by");
  other_.restart();
  return true;
}

void TableReporter::ReportRuns(const std::vector<Run>& runs) {
  std::vector<double> times;
  const Run* any = nullptr;
  for (const Run& run : runs) {
    if (run.run_type == Run::RT_Aggregate || run.error_occurred) continue;
    times.push_back(run.real_accumulated_time / static_cast<double>(run.iterations));
    any = &run;
  }
  for (const Run& run : runs) {
    if (run.error_occurred) std::printf("%-64s %s\n", run.run_name.str().c_str(), run.error_message.c_str());
  }
  if (any == nullptr) return;
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2],
               last = any->real_accumulated_time / static_cast<double>(any->iterations);
  // Half of the distance between the quartiles.
  const double spread = 0.5 * (times[times.size() * 3 / 4] - times[times.size() / 4]) / median;
  const auto counter = [&](const char* name) {
    const auto found = any->counters.find(name);
    return found == any->counters.end() ? 0.0 : found->second.value * last / median;
  };
  const double other = other_.share();
  disturbed_ += other > kDisturbed ? 1 : 0;
  std::printf("%-64s %7.3f ms %6.1f%% %9.1f %7.1f %5.0f%%  %s", any->run_name.function_name.c_str(), 1e3 * median,
              100 * spread, counter("GFLOP/s"), counter("GB/s"), 100 * counter("roof"), any->report_label.c_str());
  if (other > kDisturbed) std::printf("  (others took %.0f%% of the machine)", 100 * other);
  std::printf("\n");
  std::fflush(stdout);
  other_.restart();
}

void TableReporter::Finalize() {
  std::printf("\nOne row again: %s --benchmark_filter='^NAME$'\n", program_.c_str());
  if (disturbed_ > 0) {
    std::printf("%d rows were measured while other processes used the machine: their times don't count.\n", disturbed_);
  }
}

int run(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  std::string repetitions = "--benchmark_repetitions=9", interleave = "--benchmark_enable_random_interleaving=false",
              time = "--benchmark_min_time=0.05";
  for (std::string* const argument : {&repetitions, &interleave, &time}) {
    const std::string name = argument->substr(0, argument->find('='));
    const bool given = std::any_of(
        argv, argv + argc, [&](const char* text) { return std::strncmp(text, name.c_str(), name.size()) == 0; });
    if (!given) arguments.push_back(argument->data());
  }
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  TableReporter reporter(argv[0]);
  benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::Shutdown();
  return 0;
}

}  // namespace stagewise::bench
