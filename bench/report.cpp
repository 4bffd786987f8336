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

/// Why a row has no time, or ""; Google Benchmark 1.8 has other names for it than those before.
template <class Run>
std::string problem_of(const Run& run) {
  if constexpr (requires { run.error_occurred; }) {
    return run.error_occurred ? run.error_message : "";
  } else {
    return run.skipped ? run.skip_message : "";
  }
}

bool timed(const benchmark::BenchmarkReporter::Run& run) {
  return run.run_type != benchmark::BenchmarkReporter::Run::RT_Aggregate && problem_of(run).empty();
}

bool asks_for_no_times(int argc, char** argv) {
  return std::any_of(argv, argv + argc, [](const std::string& flag) {
    return flag == "--help" || (flag.starts_with("--benchmark_list_tests") && !flag.ends_with("=false"));
  });
}

std::vector<double> sorted(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace

Roofs note_machine(int argc, char** argv) {
  if (asks_for_no_times(argc, argv)) return {};
  const OtherWork other;
  const Roofs roofs{measure_roof(1), measure_roof(cores())};
  const double others = other.share();
  benchmark::AddCustomContext("machine", processor());
  benchmark::AddCustomContext("cores", std::to_string(cores()));
  benchmark::AddCustomContext("instruction_set", cpu_instruction_sets().front());
  benchmark::AddCustomContext("commit", commit());
  benchmark::AddCustomContext("compiler", __VERSION__);
  benchmark::AddCustomContext("peak_gflops_one", number(roofs.one.gflops));
  benchmark::AddCustomContext("peak_gflops_all", number(roofs.all.gflops));
  benchmark::AddCustomContext("bandwidth_gbs_one", number(roofs.one.gigabytes));
  benchmark::AddCustomContext("bandwidth_gbs_all", number(roofs.all.gigabytes));
  benchmark::AddCustomContext("others_share_during_roofs", number(others));
  std::printf("%s, %d cores, %s, commit %s\n", processor().c_str(), cores(), cpu_instruction_sets().front().c_str(),
              commit().c_str());
  std::printf("roofs: one thread %.0f GFLOP/s and %.1f GB/s, all %.0f GFLOP/s and %.1f GB/s\n", roofs.one.gflops,
              roofs.one.gigabytes, roofs.all.gflops, roofs.all.gigabytes);
  if (others > kDisturbed) {
    std::printf("Others took %.0f%% of the machine meanwhile: the roofs are higher than that.\n", 100 * others);
  }
  std::printf("\n");
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

bool TableReporter::ReportContext(const Context& context) {
  name_width_ = static_cast<int>(context.name_field_width - std::strlen("/real_time"));
  std::printf("%-*s %12s %7s", name_width_, "", "median", "spread");
  for (const Column& column : table_.columns) std::printf(" %9s", column.counter);
  std::printf("  %s\n", table_.label);
  other_.restart();
  return true;
}

void TableReporter::print_counter(const Column& column, const std::vector<Run>& runs) const {
  std::vector<double> values;
  for (const Run& run : runs) {
    const auto found = run.counters.find(column.counter);
    if (timed(run) && found != run.counters.end()) values.push_back(found->second.value);
  }
  if (values.empty()) {
    std::printf(" %9s", "-");
  } else if (column.percent) {
    std::printf(" %8.0f%%", 100 * sorted(values)[values.size() / 2]);
  } else {
    std::printf(" %9.1f", sorted(values)[values.size() / 2]);
  }
}

void TableReporter::ReportRuns(const std::vector<Run>& runs) {
  const auto failed = std::find_if(runs.begin(), runs.end(), [](const Run& run) { return !problem_of(run).empty(); });
  if (failed != runs.end()) {
    std::printf("%-*s %s\n", name_width_, failed->run_name.function_name.c_str(), problem_of(*failed).c_str());
    wrong_ += problem_of(*failed) == kUnsupported ? 0 : 1;
  }
  std::vector<double> times;
  for (const Run& run : runs) {
    if (timed(run)) times.push_back(run.real_accumulated_time / static_cast<double>(run.iterations));
  }
  if (times.empty()) return;
  times = sorted(times);
  const double median = times[times.size() / 2];
  medians_[runs.front().run_name.function_name] = median;
  // Half of the distance between the quartiles.
  const double spread = 0.5 * (times[times.size() * 3 / 4] - times[times.size() / 4]) / median;
  std::printf("%-*s %9.3f ms %6.1f%%", name_width_, runs.front().run_name.function_name.c_str(), 1e3 * median,
              100 * spread);
  for (const Column& column : table_.columns) print_counter(column, runs);
  std::printf("  %s", runs.front().report_label.c_str());
  const double other = other_.share();
  if (other > kDisturbed) std::printf("  (others took %.0f%% of the machine)", 100 * other);
  disturbed_ += other > kDisturbed ? 1 : 0;
  std::printf("\n");
  std::fflush(stdout);
  other_.restart();
}

void TableReporter::Finalize() {
  std::printf("\nOne row again: %s --benchmark_filter='^NAME/real_time$'\n", program_.c_str());
  if (disturbed_ > 0) {
    std::printf("%d rows were measured while other processes used the machine: their times don't count.\n", disturbed_);
  }
  if (wrong_ > 0) std::printf("%d rows are WRONG.\n", wrong_);
}

int run(int argc, char** argv, const Table& table, const std::function<void(const Medians&)>& conclude) {
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
  TableReporter reporter(argv[0], table);
  const std::size_t rows = benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::Shutdown();
  if (rows == 0) return 2;  // it has said that none matches
  if (conclude) conclude(reporter.medians());
  return reporter.wrong() > 0 ? 1 : 0;
}

}  // namespace stagewise::bench
