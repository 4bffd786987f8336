// Our side of the comparison with other frameworks: does what run.py asks for on stdin, one command a line, and answers
// each with one line of JSON. Between commands it sleeps, so that others can be timed in turn.
//   steps N    N training steps on the one batch, going on from the last:  {"ms": [of each step], "loss": the last}
//   losses N   N training steps from the initial weights:                  {"losses": [...]}
//   infer N    N forward passes in evaluation mode:                        {"ms": [of each pass]}
//   logits     of the batch, with the initial weights, in evaluation mode: {"logits": [...]}
//   memory     peak memory since `memory` was last asked, resident or, of CUDA, the device's: {"bytes": ...}
//   roof       what the card does at its best (CUDA):                      {"device": ..., "gflops": ..., "gigabytes": ...}
// On CUDA a training step is recorded once it is steady, and replayed, as in a run.
#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "bench/card_roof.h"
#include "cuda/cuda_backend.h"
#include "layers/inference.h"
#include "layers/presets.h"
#include "layers/sgd.h"
#include "search/run/device.h"
#include "search/training/model_file.h"
#include "search/training/network_tensors.h"

namespace stagewise {
namespace {

using nlohmann::json;

struct WorkerOptions {
  std::string network = "3,3,3", initial, write_initial;
  DeviceOptions device{.device = "cpu"};
  std::int64_t batch = 128;
  double learning_rate = 0.01, smoothing = 0.1;
};

void parse(CLI::App& program, WorkerOptions& options) {
  program.option_defaults()->always_capture_default();
  program.add_option("--network", options.network, "With --write-initial: residual blocks in each stage, or a name");
  program.add_option("--batch", options.batch, "Images a step, the first of batch.safetensors");
  program.add_option("--threads", options.device.threads, "CPU threads; 0 takes one a core");
  program.add_option("--device", options.device.device, "auto, cpu, reference or cuda");
  program.add_option("--precision", options.device.precision, "fp32 or bf16");
  program.add_option("--tf32", options.device.tf32, "on or off: CUDA's float32 convolutions may round to TF32");
  program.add_option("--learning-rate", options.learning_rate, "Of every step");
  program.add_option("--initial", options.initial, "Folder with model.safetensors and batch.safetensors");
  program.add_option("--write-initial", options.write_initial, "Write model.safetensors to this folder, and end");
}

Tensor first_images(const Tensor& all, std::int64_t count, DType feature_maps) {
  const Shape shape = all.shape();
  require(shape.rank() == 4 && shape[0] >= count, "[--batch] expected a batch of at least ", count, " images, got ",
          shape);
  std::vector<double> values = all.to_doubles();
  values.resize(values.size() / static_cast<std::size_t>(shape[0]) * static_cast<std::size_t>(count));
  return Tensor::from_doubles(all.backend(), {count, shape[1], shape[2], shape[3]}, values, feature_maps);
}

Tensor first_labels(const Tensor& all, std::int64_t count) {
  require(all.shape().rank() == 1 && all.count() >= count, "[--batch] expected at least ", count, " labels, got ",
          all.shape());
  std::vector<std::int32_t> values = all.to_host<std::int32_t>();
  values.resize(static_cast<std::size_t>(count));
  return Tensor::from_host(all.backend(), {count}, values);
}

class Worker {
 public:
  explicit Worker(const WorkerOptions& options)
      : options_(options),
        backend_(open_backend(options.device)),
        model_path_(options.initial + "/model.safetensors"),
        model_(read_safetensors(model_path_)),
        network_(*backend_, load_architecture(model_path_), 1) {
    const Safetensors batch = read_safetensors(options.initial + "/batch.safetensors");
    images_ = first_images(to_tensor(*backend_, batch.tensors.at("images")), options.batch,
                           feature_map_type(options.device, *backend_));
    labels_ = first_labels(to_tensor(*backend_, batch.tensors.at("labels")), options.batch);
    rate_ = Tensor::full(*backend_, {1}, options.learning_rate);
    loss_ = Tensor(*backend_, {1});
    restart();
  }

  json steps(int count) {
    json answer{{"ms", timed(count, [this] { step(); })}};
    answer["loss"] = loss_.to_host<float>().front();
    return answer;
  }

  json losses(int count) {
    restart();
    json losses = json::array();
    for (int i = 0; i < count; ++i) {
      step();
      losses.push_back(loss_.to_host<float>().front());
    }
    return {{"losses", losses}};
  }

  json infer(int count) {
    if (!inference_) inference_.emplace(network_);
    return {{"ms", timed(count, [this] { inference_->logits(images_); })}};
  }

  json logits() {
    restart();
    return {{"logits", InferenceNetwork(network_).logits(images_).to_host<float>()}};
  }

  json memory();
  json roof();

 private:
  static constexpr int kUntilSteady = 2;  // steps: the optimiser's state is there, plans are made, memory is cached

  void restart() {
    load_network(model_, "", model_path_, network_);
    inference_.reset();
    recording_.reset();
    steps_ = 0;
    optimiser_ = Sgd();
  }

  void step() {
    if (recording_) return recording_->replay();
    if (!backend_->can_record() || steps_++ < kUntilSteady) return queue_step();
    recording_ = backend_->record([this] { queue_step(); });
    require(recording_ != nullptr, "a step could not be recorded");
  }

  void queue_step() {
    Tape tape;
    const Context context{.tape = &tape, .training = true};
    const Variable loss =
        softmax_cross_entropy(context, network_.forward(context, Variable(images_)), labels_, options_.smoothing);
    tape.backward(loss);
    optimiser_.step(network_, rate_);
    backend_->copy(loss.value(), loss_);
  }

  template <class Work>
  std::vector<double> timed(int count, const Work& work) const {
    std::vector<double> milliseconds;
    for (int i = 0; i < count; ++i) {
      const auto start = std::chrono::steady_clock::now();
      work();
      backend_->synchronise();
      milliseconds.push_back(
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    return milliseconds;
  }

  WorkerOptions options_;
  std::unique_ptr<Backend> backend_;
  std::string model_path_;
  Safetensors model_;
  Network network_;
  Sgd optimiser_;
  Tensor images_, labels_, rate_, loss_;
  std::optional<InferenceNetwork> inference_;  // of the network as it stands
  int steps_ = 0;
  std::unique_ptr<Recording> recording_;
};

// The kernel keeps the peak; writing 5 to clear_refs starts it anew (proc(5)).
json resident_memory() {
  std::ifstream status("/proc/self/status");
  std::int64_t kilobytes = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) kilobytes = std::stoll(line.substr(6));
  }
  std::ofstream("/proc/self/clear_refs") << "5";
  return {{"bytes", kilobytes * 1024}};
}

json Worker::memory() {
  if (options_.device.device == "cpu") return resident_memory();
  return {{"bytes", backend_->allocator().statistics().peak_bytes_in_use}};
}

json Worker::roof() {
  return {{"device", backend_->description()},
          {"gflops", cuda_peak_gflops()},
          {"gigabytes", bench::copy_roof(*backend_).gigabytes}};
}

json answer(Worker& worker, const std::string& line) {
  std::istringstream words(line);
  std::string command;
  int count = 0;
  words >> command >> count;
  if (command == "memory") return worker.memory();
  if (command == "logits") return worker.logits();
  if (command == "roof") return worker.roof();
  require(count > 0, "expected `steps N`, `losses N`, `infer N`, `logits`, `memory` or `roof`, got `", line, "`");
  if (command == "steps") return worker.steps(count);
  if (command == "losses") return worker.losses(count);
  if (command == "infer") return worker.infer(count);
  fail("expected `steps N`, `losses N`, `infer N`, `logits`, `memory` or `roof`, got `", line, "`");
}

Architecture architecture_named(const std::string& network) {
  const bool depths = network.find_first_not_of("0123456789,") == std::string::npos;
  return depths ? Architecture::of_depths(parse_depths(network, "--network")) : preset(network);
}

void write_initial(const WorkerOptions& options) {
  const auto backend = open_backend({.device = "cpu", .threads = 1});
  const Network network(*backend, architecture_named(options.network), 1);
  Safetensors file;
  store_network(network, "", file);
  file.metadata["architecture"] = network.architecture().to_json();
  write_safetensors(options.write_initial + "/model.safetensors", file);
}

void run(const WorkerOptions& options) {
  if (!options.write_initial.empty()) return write_initial(options);
  Worker worker(options);
  std::cout << json{{"ready", true}} << std::endl;
  for (std::string line; std::getline(std::cin, line);) std::cout << answer(worker, line) << std::endl;
}

}  // namespace
}  // namespace stagewise

int main(int argc, char** argv) {
  stagewise::WorkerOptions options;
  CLI::App program("Our side of the comparison with other frameworks; bench/peers/run.py drives it.", "peer_worker");
  stagewise::parse(program, options);
  CLI11_PARSE(program, argc, argv);
  try {
    stagewise::run(options);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "peer_worker: " << error.what() << '\n';
    return 2;
  }
}
