// Whole training steps: forward, loss, backward, Nesterov SGD, on random images that stay in memory.
// Rerun one row: build/bench/training_step --benchmark_filter=<its name>
#include <benchmark/benchmark.h>

#include "cpu/cpu_backend.h"
#include "layers/cost.h"
#include "layers/sgd.h"
#include "tensor/random.h"

namespace stagewise {
namespace {

Tensor random_images(Backend& backend, std::int64_t count) {
  const Shape shape{count, 32, 32, 3};
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  const Random random(1);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random.normal(i));
  return Tensor::from_host(backend, shape, values);
}

void training_step(benchmark::State& state, const std::vector<std::int64_t>& depths) {
  const std::int64_t batch = state.range(0);
  const auto backend = make_cpu_backend({.threads = static_cast<int>(state.range(1))});
  const Architecture architecture = Architecture::of_depths(depths);
  const ResNet network(*backend, architecture, 1);
  Sgd optimiser;
  const Tensor images = random_images(*backend, batch);
  std::vector<std::int32_t> labels(static_cast<std::size_t>(batch));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % 10);
  const Tensor targets = Tensor::from_host(*backend, {batch}, labels);
  for ([[maybe_unused]] auto _ : state) {
    Tape tape;
    const Context context{.tape = &tape, .training = true};
    tape.backward(softmax_cross_entropy(context, network.forward(context, Variable(images)), targets, 0.1));
    optimiser.step(network, 0.01);
  }
  // A step costs three forward passes: forward, by data, by weights; a multiply-accumulate is two FLOPs.
  const double flops = 6.0 * static_cast<double>(cost_of(architecture).total().macs * batch);
  state.SetItemsProcessed(state.iterations() * batch);
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.SetLabel(backend->description());
}

BENCHMARK_CAPTURE(training_step, resnet20, {3, 3, 3})
    ->ArgNames({"batch", "threads"})
    ->ArgsProduct({{128}, {1, 2}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Repetitions(9)
    ->ReportAggregatesOnly();

}  // namespace
}  // namespace stagewise

BENCHMARK_MAIN();
