#include "bench/timing.h"

#include <algorithm>
#include <cmath>

#include "bench/report.h"
#include "cpu/reference_backend.h"

namespace stagewise::bench {
namespace {

// More than the last-level caches that we know, and at least a few sets.
constexpr double kColdBytes = 128e6;

/// The largest difference of two results over the largest value, NaN counted as infinite.
double difference(const Values& a, const Values& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    double scale = 0.1, apart = 0;
    for (std::size_t j = 0; j < a[i].size(); ++j) {
      scale = std::max(scale, std::abs(b[i][j]));
      const double here = std::abs(a[i][j] - b[i][j]);
      apart = here <= apart ? apart : here < INFINITY ? here : INFINITY;
    }
    largest = std::max(largest, apart / scale);
  }
  return largest;
}

bool right(const TimedRow& row, const TimedCall& call) {
  return difference(call.outputs(), row.expected->values()) <= row.tolerance;
}

bool right_when_run(const TimedRow& row, const TimedCall& call) {
  call.run();
  return right(row, call);
}

/// What the repetitions of a row share: making it takes longer than timing it.
struct Sets {
  std::string name;
  std::vector<TimedCall> calls;
  bool right = false;
  bool repeatable = false;  // not what adds to its outputs, as SGD does: that is checked on fresh tensors
  std::size_t next = 0;
};

Sets& sets_of(const TimedRow& row, const std::string& name, bool cold) {
  static Sets sets;  // of one row: the next one's take their place
  if (sets.name == name) return sets;
  sets = {.name = name};
  const TimedCall fresh = row.make();
  sets.right = right_when_run(row, fresh);
  sets.repeatable = right_when_run(row, fresh);
  const int count = cold ? static_cast<int>(std::clamp(kColdBytes / row.bytes, 3.0, 2000.0)) : 1;
  for (int i = 0; i < count; ++i) {
    sets.calls.push_back(row.make());
    sets.calls.back().run();
  }
  return sets;
}

void time_row(benchmark::State& state, const TimedRow& row, const std::string& name, bool cold) {
  Sets& sets = sets_of(row, name, cold);
  if (!sets.right) {
    state.SkipWithError("wrong before timing: differs from the reference");
    return;
  }
  std::size_t last = sets.next;
  const OtherWork other;
  for ([[maybe_unused]] auto _ : state) {
    last = sets.next;
    sets.calls[last].run();
    if (++sets.next == sets.calls.size()) sets.next = 0;
  }
  state.counters["others"] = other.share();
  count(state, row.flops, row.bytes, row.roof);
  if (!(sets.repeatable ? right(row, sets.calls[last]) : right_when_run(row, row.make()))) {
    state.SkipWithError("wrong after timing: differs from the reference");
  }
}

}  // namespace

TimedCall timed_call(const primitive_cases::Call& call) {
  return {call.run, [outputs = call.outputs] {
            Values values;
            for (const Tensor& output : outputs) values.push_back(output.to_doubles());
            return values;
          }};
}

const Values& Expected::values() {
  if (values_.empty()) {
    const auto reference = make_reference_backend();
    const TimedCall call = timed_call(primitive_.make(*reference, DType::float32));
    call.run();
    values_ = call.outputs();
  }
  return values_;
}

double tolerance(std::int64_t reduction) { return 4e-6 * std::sqrt(static_cast<double>(reduction) + 16.0); }

void register_row(const TimedRow& row, bool cold, const std::string& suffix) {
  const std::string name = concat(row.name, "/", cold ? "cold" : "hot", suffix.empty() ? "" : "/", suffix);
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    time_row(state, row, name, cold);
  })->UseRealTime();
}

}  // namespace stagewise::bench
