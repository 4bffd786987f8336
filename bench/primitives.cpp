// Every primitive of the backend at the networks' shapes, from the table that the tests compare with the reference.
#include "bench/report.h"
#include "bench/timing.h"
#include "cpu/cpu_backend.h"

namespace stagewise::bench {
namespace {

constexpr std::int64_t kBatch = 128;

void register_primitives(const Roofs& roofs, Backend& one, Backend& all) {
  for (const auto& primitive : primitive_cases::bench_cases(kBatch)) {
    TimedRow row{.name = primitive.name,
                 .flops = primitive.flops,
                 .bytes = primitive.bytes,
                 .make = [=, &all] { return timed_call(primitive.make(all)); },
                 .expected = std::make_shared<Expected>(primitive),
                 .tolerance = tolerance(primitive.reduction),
                 .roof = roofs.all};
    for (const bool cold : {false, true}) register_row(row, cold);
    if (cores() == 1) continue;
    row.make = [=, &one] { return timed_call(primitive.make(one)); };
    row.roof = roofs.one;
    register_row(row, false, "one_thread");
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
