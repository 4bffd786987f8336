// The table that a bench prints, a line a row, beside Google Benchmark's JSON.
#pragma once

#include <benchmark/benchmark.h>

#include <string>

#include "bench/machine.h"

namespace stagewise::bench {

/// What each row is measured against.
struct Roofs {
  Roof one, all;
};
/// Measures the roofs and notes them, with the machine, the commit and the build, in the JSON's context.
Roofs note_machine();

/// Sets a row's counters: GFLOP/s, GB/s, and the share of the roof: the time that the roof allows over the time taken.
/// FLOPs are those of the formula, so Winograd's rows may pass 100%.
void count(benchmark::State& state, double flops, double bytes, const Roof& roof);

/// Prints name, median and spread of the repetitions, the counters, what binds the row, and what else was running.
class TableReporter : public benchmark::BenchmarkReporter {
 public:
  explicit TableReporter(std::string program) : program_(std::move(program)) {}
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

 private:
  std::string program_;
  OtherWork other_;
  int disturbed_ = 0;
};

/// Runs the registered benchmarks: nine repetitions each unless the flags say otherwise.
int run(int argc, char** argv);

}  // namespace stagewise::bench
