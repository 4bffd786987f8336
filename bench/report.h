// The table that a bench prints, a line a row, beside Google Benchmark's JSON.
#pragma once

#include <benchmark/benchmark.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bench/machine.h"

namespace stagewise::bench {

/// What each row is measured against.
struct Roofs {
  Roof one, all;
};
/// Measures the roofs and notes them, with the machine, the commit and the build, in the JSON's context. Where the flags
/// ask for no times (--help, --benchmark_list_tests), nothing is measured.
Roofs note_machine(int argc, char** argv);

/// Sets a row's counters: GFLOP/s, GB/s, and the share of the roof: the time that the roof allows over the time taken.
/// FLOPs are those of the formula, less the multiplications with padding, so Winograd's rows may pass 100%.
void count(benchmark::State& state, double flops, double bytes, const Roof& roof);

/// What stands in a row between the times and the label.
struct Column {
  const char* counter;
  bool percent = false;
};
struct Table {
  std::vector<Column> columns = {{"GFLOP/s"}, {"GB/s"}, {"roof", true}};
  const char* label = "bound by";
};

/// A row that can't be: SkipWithError's text for it. All other texts are failures.
inline constexpr const char* kUnsupported = "not supported";

/// Seconds, by the rows' names.
using Medians = std::map<std::string, double>;

/// Prints name, median and spread of the repetitions, the counters' medians, the label, and what else was running.
class TableReporter : public benchmark::BenchmarkReporter {
 public:
  TableReporter(std::string program, Table table) : program_(std::move(program)), table_(std::move(table)) {}
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;
  /// Rows whose results were wrong.
  int wrong() const { return wrong_; }
  const Medians& medians() const { return medians_; }

 private:
  void print_counter(const Column& column, const std::vector<Run>& runs) const;

  std::string program_;
  Table table_;
  int name_width_ = 0;
  OtherWork other_;
  int disturbed_ = 0, wrong_ = 0;
  Medians medians_;
};

/// Runs the registered benchmarks: nine repetitions each unless the flags say otherwise. Returns main's value: 1 when a
/// row's results were wrong, 2 when the flags aren't understood or choose no row. `conclude` is called behind the last row.
int run(int argc, char** argv, const Table& table = {}, const std::function<void(const Medians&)>& conclude = {});

}  // namespace stagewise::bench
