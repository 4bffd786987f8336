// Every primitive of the backend at the networks' shapes, from the table that the tests compare with the reference.
// `hot`: the same tensors again and again; `cold`: as many sets in turn as pass the last-level cache.
#include <cmath>
#include <cstdio>

#include "bench/report.h"
#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "tests/primitive_cases.h"

namespace stagewise::bench {
namespace {

using primitive_cases::Call;
using primitive_cases::PrimitiveCase;

constexpr std::int64_t kBatch = 128;
// More than the last-level caches that we know, and at least a few sets.
constexpr double kColdBytes = 128e6;

std::vector<std::vector<double>> outputs(const Call& call) {
  std::vector<std::vector<double>> values;
  for (const Tensor& output : call.outputs) values.push_back(output.to_doubles());
  return values;
}

/// The largest difference of two results over the largest value, NaN counted as infinite.
double difference(const std::vector<std::vector<double>>& a, const std::vector<std::vector<double>>& b) {
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

std::vector<std::vector<double>> fresh_outputs(const PrimitiveCase& primitive, Backend& backend) {
  const Call call = primitive.make(backend, DType::float32);
  call.run();
  return outputs(call);
}

void time_primitive(benchmark::State& state, const PrimitiveCase& primitive, Backend& backend, const Roof& roof,
                    bool cold, const std::vector<std::vector<double>>& expected) {
  const double tolerance = 4e-6 * std::sqrt(static_cast<double>(primitive.reduction) + 16.0);
  if (!(difference(fresh_outputs(primitive, backend), expected) <= tolerance)) {
    state.SkipWithError("wrong before timing: differs from the reference");
    return;
  }
  std::vector<Call> calls;
  const int sets = cold ? static_cast<int>(std::clamp(kColdBytes / primitive.bytes, 3.0, 2000.0)) : 1;
  for (int i = 0; i < sets; ++i) calls.push_back(primitive.make(backend, DType::float32));
  std::size_t next = 0;
  for ([[maybe_unused]] auto _ : state) {
    calls[next].run();
    if (++next == calls.size()) next = 0;
  }
  count(state, primitive.flops, primitive.bytes, roof);
  if (!(difference(fresh_outputs(primitive, backend), expected) <= tolerance)) {
    state.SkipWithError("wrong after timing: differs from the reference");
  }
}

void register_primitives(const Roofs& roofs, Backend& one, Backend& all) {
  const auto reference = std::make_shared<std::unique_ptr<Backend>>(make_reference_backend());
  for (const PrimitiveCase& primitive : primitive_cases::bench_cases(kBatch)) {
    const auto expected = std::make_shared<std::vector<std::vector<double>>>();
    for (const bool cold : {false, true}) {
      for (const bool every_core : {true, false}) {
        if (!every_core && (cold || cores() == 1)) continue;
        const std::string name = concat(primitive.name, "/", cold ? "cold" : "hot", every_core ? "" : "/one_thread");
        benchmark::RegisterBenchmark(name.c_str(), [=, &one, &all](benchmark::State& state) {
          if (expected->empty()) *expected = fresh_outputs(primitive, **reference);
          time_primitive(state, primitive, every_core ? all : one, every_core ? roofs.all : roofs.one, cold, *expected);
        })->UseRealTime();
      }
    }
  }
}

}  // namespace
}  // namespace stagewise::bench

int main(int argc, char** argv) {
  using namespace stagewise;
  const auto one = make_cpu_backend({.threads = 1}), all = make_cpu_backend();
  const bench::Roofs roofs = bench::note_machine();
  bench::register_primitives(roofs, *one, *all);
  return bench::run(argc, argv);
}
