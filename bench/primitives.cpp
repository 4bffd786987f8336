// Every primitive of the backend at the networks' shapes, from the table that the tests compare with the reference.
#include <iostream>

#include "bench/flags.h"
#include "bench/report.h"
#include "bench/timing.h"
#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"

namespace stagewise::bench {
namespace {

constexpr std::int64_t kBatch = 128;
// More would be a wait: the reference is there to be read.
constexpr double kReferenceFlops = 1e7;

/// The backends that a row may be timed on.
struct Backends {
  std::unique_ptr<Backend> one = make_cpu_backend({.threads = 1}), all = make_cpu_backend(),
                           strict = make_cpu_backend({.strict_convolution = true}),
                           reference = make_reference_backend();
};

void register_primitives(const Roofs& roofs, const Backends& backends,
                         const std::vector<primitive_cases::PrimitiveCase>& cases) {
  for (const auto& primitive : cases) {
    const auto expected = std::make_shared<Expected>(primitive);
    const auto put = [&](const std::unique_ptr<Backend>& backend, DType maps, bool cold, const std::string& suffix) {
      register_row({.name = primitive.name,
                    .flops = primitive.flops,
                    .bytes = primitive.traffic.bytes(maps),
                    .make = [primitive, maps, on = backend.get()] { return timed_call(primitive.make(*on, maps)); },
                    .expected = expected,
                    .tolerance = tolerance(primitive.reduction) + (maps == DType::bfloat16 ? 1.0 / 256 : 0.0),
                    .roof = backend == backends.one || backend == backends.reference ? roofs.one : roofs.all},
                   cold, suffix);
    };
    for (const bool cold : {false, true}) put(backends.all, DType::float32, cold, "");
    if (primitive.traffic.maps > 0) put(backends.all, DType::bfloat16, true, "bf16");
    if (primitive.name.find("_3x3_") != std::string::npos) put(backends.strict, DType::float32, true, "strict");
    if (cores() > 1) put(backends.one, DType::float32, false, "one_thread");
    if (primitive.flops < kReferenceFlops) put(backends.reference, DType::float32, false, "reference");
  }
}

}  // namespace
}  // namespace stagewise::bench

int main(int argc, char** argv) {
  using namespace stagewise;
  try {
    const auto shape = bench::shape_flag(argc, argv);
    const auto cases =
        shape ? primitive_cases::convolution_cases({*shape}) : primitive_cases::bench_cases(bench::kBatch);
    const bench::Backends backends;
    const bench::Roofs roofs = bench::note_machine(argc, argv);
    bench::register_primitives(roofs, backends, cases);
    return bench::run(argc, argv);
  } catch (const Error& error) {
    std::cerr << "primitives: " << error.what() << '\n';
    return 2;
  }
}
