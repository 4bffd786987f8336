// Whole steps on random images that stay in memory. `training`: forward, loss, backward, Nesterov SGD. `inference`: the
// forward pass with the batch norms folded in. `bf16`: feature maps stored in bfloat16. At the end, one training step
// on more and more threads. With `--device cuda` on the first card instead, in three precisions (`tf32`: float32's
// convolutions may round to TF32), a step replayed from its recording as in a run, and the wait for it.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>

#include "bench/card_roof.h"
#include "bench/flags.h"
#include "bench/report.h"
#include "cuda/cuda_backend.h"
#include "layers/cost.h"
#include "layers/inference.h"
#include "layers/sgd.h"
#include "search/run/device.h"
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
  DeviceOptions device;
  std::string name() const {
    return concat(training ? "training/" : "inference/", network.name, "/n", batch,
                  device.precision == "bf16" ? "/bf16" : "", device.tf32 == "on" ? "/tf32" : "");
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

/// A network that takes steps on one batch; its first steps are not timed.
class Runner {
 public:
  explicit Runner(const Step& step)
      : backend_(open_backend(step.device)),
        network_(*backend_, step.network.architecture, 1),
        inference_(network_),
        images_(random_images(*backend_, step.batch, feature_map_type(step.device, *backend_))),
        labels_(bench::labels(*backend_, step.batch)),
        rate_(Tensor::full(*backend_, {1}, kLearningRate)),
        training_(step.training) {
    work();
    first_ = result_.to_doubles();
    if (!backend_->can_record()) return;
    work();  // memory is cached and plans are made: a step is steady
    recording_ = backend_->record([this] { work(); });
    require(recording_ != nullptr, "a step could not be recorded");
  }

  void run() {
    recording_ ? recording_->replay() : work();
    backend_->synchronise();
  }

  /// Training has brought the loss down; inference gives the same bits as the first time (NaN would not).
  bool right() const {
    const std::vector<double> last = result_.to_doubles();
    return training_ ? last[0] < first_[0] : last == first_;
  }

 private:
  void work() {
    if (training_) {
      Tape tape;
      const Context context{.tape = &tape, .training = true};
      const Variable loss = softmax_cross_entropy(context, network_.forward(context, Variable(images_)), labels_, 0.1);
      tape.backward(loss);
      optimiser_.step(network_, rate_);
      keep(loss.value());
    } else {
      keep(inference_.logits(images_));
    }
  }

  /// A recorded step leaves no tensor of its own behind.
  void keep(const Tensor& result) {
    if (!result_.defined()) result_ = Tensor(*backend_, result.shape(), result.dtype());
    backend_->copy(result, result_);
  }

  static constexpr double kLearningRate = 0.01;
  std::unique_ptr<Backend> backend_;
  Network network_;
  InferenceNetwork inference_;
  Sgd optimiser_;
  Tensor images_, labels_, rate_, result_;  // the loss, or the logits
  bool training_;
  std::vector<double> first_;
  std::unique_ptr<Recording> recording_;  // goes before what it works on
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

/// Shared by a row's repetitions; the next row's takes its place.
std::unique_ptr<Runner>& current_runner() {
  static std::unique_ptr<Runner> runner;
  return runner;
}

Runner& runner_of(const Step& step, const std::string& name) {
  static std::string made;
  std::unique_ptr<Runner>& runner = current_runner();
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
  const bool on_cpu = step.device.device == "cpu";
  const Balance balance(on_cpu ? step.device.threads : 1);
  const OtherWork other;
  for ([[maybe_unused]] auto _ : state) runner.run();
  state.counters["others"] = other.share();
  if (const double even = balance.now(); on_cpu && even > 0) state.counters["balance"] = Counter(even);
  state.counters["images/s"] = Counter(static_cast<double>(step.batch), Counter::kIsIterationInvariantRate);
  state.counters["GFLOP/s"] = Counter(1e-9 * step.flops(), Counter::kIsIterationInvariantRate);
  if (roof.gflops > 0) {
    state.counters["roof"] = Counter(1e-9 * step.flops() / roof.gflops, Counter::kIsIterationInvariantRate);
  }
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
        for (const char* const precision : {"fp32", "bf16"}) {
          if (std::string(precision) == "bf16" && batch != 128) continue;
          const Step step{training, network, batch, {.device = "cpu", .threads = cores(), .precision = precision}};
          register_step(step, step.name(), roofs.all);
        }
      }
    }
  }
}

void register_scaling(const Roofs& roofs) {
  for (int threads = 1;; threads = std::min(2 * threads, cores())) {
    const Step step{true, {"resnet20", Architecture::of_depths({3, 3, 3})}, 128, {.device = "cpu", .threads = threads}};
    const Roof roof = threads == 1 ? roofs.one : threads == cores() ? roofs.all : measure_roof(threads);
    register_step(step, concat(step.name(), "/threads_", threads), roof);
    if (threads == cores()) return;
  }
}

/// The card's arithmetic is known for exact float32 only; tensor cores' rows have no roof.
void register_on_card(double peak_gflops, const std::vector<std::int64_t>& batches, bool has_bfloat16) {
  for (const bool training : {true, false}) {
    for (const NamedNetwork& network : networks()) {
      for (const std::int64_t batch : batches) {
        const auto add = [&](const DeviceOptions& device, double roof) {
          const Step step{training, network, batch, device};
          register_step(step, step.name(), {.gflops = roof});
        };
        add({.device = "cuda"}, peak_gflops);
        add({.device = "cuda", .tf32 = "on"}, 0);
        if (has_bfloat16) add({.device = "cuda", .precision = "bf16"}, 0);
      }
    }
  }
}

int run_on_cpu(int argc, char** argv) {
  const Roofs roofs = note_machine(argc, argv);
  register_networks(roofs);
  register_scaling(roofs);
  return run(argc, argv, {.columns = {{"images/s"}, {"GFLOP/s"}, {"roof", true}, {"balance", true}}, .label = ""});
}

int run_on_card(const std::vector<std::int64_t>& batches, int argc, char** argv) {
  const auto gpu = open_backend({.device = "cuda"});
  const double gflops = cuda_peak_gflops(), gigabytes = copy_roof(*gpu).gigabytes;
  std::cout << gpu->description() << ", commit " << commit() << "\nroofs: " << std::llround(gflops)
            << " GFLOP/s in float32 by its properties, copies " << std::llround(gigabytes) << " GB/s\n\n";
  benchmark::AddCustomContext("device", gpu->description());
  benchmark::AddCustomContext("commit", commit());
  benchmark::AddCustomContext("peak_gflops", std::to_string(gflops));
  benchmark::AddCustomContext("bandwidth_gbs", std::to_string(gigabytes));
  register_on_card(gflops, batches, gpu->supports(DType::bfloat16));
  const int result = run(argc, argv, {.columns = {{"images/s"}, {"GFLOP/s"}, {"roof", true}}, .label = ""});
  current_runner().reset();  // the driver goes before what is static
  return result;
}

}  // namespace
}  // namespace stagewise::bench

int main(int argc, char** argv) {
  using namespace stagewise;
  try {
    const std::string device = bench::take_flag("--device", argc, argv).value_or("cpu");
    const std::optional<std::int64_t> batch = bench::batch_flag(argc, argv);
    require(device == "cpu" || device == "cuda", "[--device] expected cpu or cuda, got `", device, "`");
    if (device == "cuda") {
      return bench::run_on_card(batch ? std::vector{*batch} : std::vector<std::int64_t>{128, 512, 1024}, argc, argv);
    }
    require(!batch, "[--batch] is for --device cuda");
    return bench::run_on_cpu(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 2;
  }
}
