// Whole steps on random images that stay in memory. `training`: forward, loss, backward, Nesterov SGD. `inference`: the
// forward pass with the batch norms folded in. `bf16`: feature maps stored in bfloat16. At the end, one training step
// on more and more threads.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>

#include "bench/report.h"
#include "cpu/cpu_backend.h"
#include "layers/cost.h"
#include "layers/inference.h"
#include "layers/sgd.h"
#include "tensor/random.h"

namespace stagewise::bench {
namespace {

struct NamedNetwork {
  std::string name;
  Architecture architecture;
};

std::vector<NamedNetwork> networks() {
  std::vector<NamedNetwork> networks;
  for (const std::int64_t depth : {1, 2, 3, 9}) {
    networks.push_back({concat("resnet", 6 * depth + 2), Architecture::of_depths({depth, depth, depth})});
  }
  // The paper's released networks.
  for (const char* depths : {"6,8,6", "8,10,6", "10,12,6", "10,12,8", "10,14,8"}) {
    networks.push_back(
        {concat("paper_", depths), Architecture::of_depths(parse_depths(depths, "blocks"), Variant::paper)});
  }
  return networks;
}

struct Step {
  bool training;
  NamedNetwork network;
  std::int64_t batch;
  int threads;
  DType maps = DType::float32;
  std::string name() const {
    return concat(training ? "training/" : "inference/", network.name, "/n", batch,
                  maps == DType::bfloat16 ? "/bf16" : "");
  }
  /// A training step costs three forward passes: forward, by data, by weights. A multiply-accumulate is two FLOPs.
  double flops() const {
    return (training ? 6.0 : 2.0) * static_cast<double>(cost_of(network.architecture).total().macs * batch);
  }
};

Tensor random_images(Backend& backend, std::int64_t count, DType maps) {
  const Shape shape{count, 32, 32, 3};
  std::vector<double> values(static_cast<std::size_t>(shape.count()));
  const Random random(1);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
  return Tensor::from_doubles(backend, shape, values, maps);
}

Tensor labels(Backend& backend, std::int64_t count) {
  std::vector<std::int32_t> labels(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % 10);
  return Tensor::from_host(backend, {count}, labels);
}

/// A network that takes steps on one batch; its first step is not timed.
class Runner {
 public:
  explicit Runner(const Step& step)
      : backend_(make_cpu_backend({.threads = step.threads})),
        network_(*backend_, step.network.architecture, 1),
        inference_(network_),
        images_(random_images(*backend_, step.batch, step.maps)),
        labels_(bench::labels(*backend_, step.batch)),
        training_(step.training) {
    run();
    first_ = result_.to_doubles();
  }

  void run() {
    if (training_) {
      Tape tape;
      const Context context{.tape = &tape, .training = true};
      const Variable loss = softmax_cross_entropy(context, network_.forward(context, Variable(images_)), labels_, 0.1);
      tape.backward(loss);
      optimiser_.step(network_, kLearningRate);
      result_ = loss.value();
    } else {
      result_ = inference_.logits(images_);
    }
  }

  /// Training has brought the loss down; inference gives the same bits as the first time (NaN would not).
  bool right() const {
    const std::vector<double> last = result_.to_doubles();
    return training_ ? last[0] < first_[0] : last == first_;
  }

 private:
  static constexpr double kLearningRate = 0.01;
  std::unique_ptr<Backend> backend_;
  Network network_;
  InferenceNetwork inference_;
  Sgd optimiser_;
  Tensor images_, labels_, result_;  // the loss, or the logits
  bool training_;
  std::vector<double> first_;
};

/// How evenly the work falls on so many threads: the mean of their processor time over the busiest one's. NaN where the
/// kernel doesn't say.
class Balance {
 public:
  explicit Balance(int threads) : threads_(static_cast<std::size_t>(threads)), before_(thread_seconds()) {}
  double now() const {
    std::vector<double> spent;
    for (const auto& [thread, seconds] : thread_seconds()) {
      const auto before = before_.find(thread);
      spent.push_back(seconds - (before == before_.end() ? 0.0 : before->second));
    }
    std::sort(spent.rbegin(), spent.rend());
    spent.resize(threads_);
    return std::accumulate(spent.begin(), spent.end(), 0.0) / (spent[0] * static_cast<double>(threads_));
  }

 private:
  std::size_t threads_;
  std::map<std::string, double> before_;
};

Runner& runner_of(const Step& step, const std::string& name) {
  static std::string made;
  static std::unique_ptr<Runner> runner;  // shared by a row's repetitions; the next row's takes its place
  if (made != name) {
    runner.reset();
    runner = std::make_unique<Runner>(step);
    made = name;
  }
  return *runner;
}

void time_step(benchmark::State& state, const Step& step, const std::string& name, const Roof& roof) {
  using benchmark::Counter;
  Runner& runner = runner_of(step, name);
  const Balance balance(step.threads);
  const OtherWork other;
  for ([[maybe_unused]] auto _ : state) runner.run();
  state.counters["others"] = other.share();
  if (const double even = balance.now(); even > 0) state.counters["balance"] = Counter(even);
  state.counters["images/s"] = Counter(static_cast<double>(step.batch), Counter::kIsIterationInvariantRate);
  state.counters["GFLOP/s"] = Counter(1e-9 * step.flops(), Counter::kIsIterationInvariantRate);
  state.counters["roof"] = Counter(1e-9 * step.flops() / roof.gflops, Counter::kIsIterationInvariantRate);
  if (!runner.right()) {
    state.SkipWithError(step.training ? "wrong: training did not bring the loss down"
                                      : "wrong: inference differs from its first time");
  }
}

void register_step(const Step& step, const std::string& name, const Roof& roof) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    time_step(state, step, name, roof);
  })->UseRealTime();
}

void register_networks(const Roofs& roofs) {
  for (const bool training : {true, false}) {
    for (const NamedNetwork& network : networks()) {
      for (const std::int64_t batch : {1, 32, 128, 512}) {
        if (training && batch == 1) continue;  // one image has no batch statistics worth the name
        for (const DType maps : {DType::float32, DType::bfloat16}) {
          if (maps == DType::bfloat16 && batch != 128) continue;
          const Step step{training, network, batch, cores(), maps};
          register_step(step, step.name(), roofs.all);
        }
      }
    }
  }
}

void register_scaling(const Roofs& roofs) {
  for (int threads = 1;; threads = std::min(2 * threads, cores())) {
    const Step step{true, {"resnet20", Architecture::of_depths({3, 3, 3})}, 128, threads};
    const Roof roof = threads == 1 ? roofs.one : threads == cores() ? roofs.all : measure_roof(threads);
    register_step(step, concat(step.name(), "/threads_", threads), roof);
    if (threads == cores()) return;
  }
}

}  // namespace
}  // namespace stagewise::bench

int main(int argc, char** argv) {
  using namespace stagewise::bench;
  const Roofs roofs = note_machine(argc, argv);
  register_networks(roofs);
  register_scaling(roofs);
  return run(argc, argv, {.columns = {{"images/s"}, {"GFLOP/s"}, {"roof", true}, {"balance", true}}, .label = ""});
}
