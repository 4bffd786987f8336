#include "cuda/tuning.h"

#include <algorithm>
#include <cmath>

#include "cuda/check.h"
#include "cuda/filter_gradient.h"
#include "cuda/graph_recording.h"
#include "cuda/kernels.h"

namespace stagewise::cuda {
namespace {

using Direction = ConvolutionGraph::Direction;

constexpr int kRepetitions = 3;               // that must give the same bits
constexpr int kTimings = 7;                   // of which the median counts
constexpr double kTimedMicroseconds = 500.0;  // about so long is each, of as many calls as that takes
constexpr int kMostCalls = 20;
constexpr double kFarSlower = 4.0, kLaunch = 100.0;  // microseconds that a call takes by being queued

struct DestroyEvent {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};

/// Microseconds that the stream takes for what `queue` queues.
class Stopwatch {
 public:
  explicit Stopwatch(cudaStream_t stream) : stream_(stream), begin_(event()), end_(event()) {}

  double of(const std::function<void()>& queue) {
    STAGEWISE_CHECK(cudaEventRecord(begin_.get(), stream_));
    queue();
    STAGEWISE_CHECK(cudaEventRecord(end_.get(), stream_));
    STAGEWISE_CHECK(cudaEventSynchronize(end_.get()));
    float milliseconds = 0.0F;
    STAGEWISE_CHECK(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()));
    return 1e3 * static_cast<double>(milliseconds);
  }

 private:
  using Event = std::unique_ptr<CUevent_st, DestroyEvent>;
  static Event event() {
    cudaEvent_t made = nullptr;
    STAGEWISE_CHECK(cudaEventCreate(&made));
    return Event(made);
  }

  cudaStream_t stream_;
  Event begin_, end_;
};

/// A call of the seam that asks for one graph, on drawn numbers.
class Call {
 public:
  Call(Backend& backend, cudaStream_t stream, const ConvolutionGraph& graph)
      : backend_(backend), stream_(stream), graph_(graph) {
    x_ = drawn(graph.x, graph.maps);
    y_ = drawn(graph.y, graph.maps);
    weight_ = drawn(graph.weight, graph.maps);  // of values that a bfloat16 can hold, where it will be one
    if (graph.maps != DType::float32) {
      const Tensor wide(backend, graph.weight);
      cast(weight_, wide, stream);
      weight_ = wide;
    }
    const Shape inputs{graph.x[3]}, outputs{graph.y[3]};
    if (graph.normalise) norm_ = {drawn(inputs), drawn(inputs), drawn(inputs), drawn(inputs)};
    if (graph.bias) bias_ = drawn(outputs);
    if (graph.addend) addend_ = drawn(graph.y, graph.maps);
    if (graph.add_to_output) before_ = copy_of(output());
  }

  void run() const {
    switch (graph_.direction) {
      case Direction::forward:
        return backend_.convolution_forward({.x = x_,
                                             .weight = weight_,
                                             .bias = bias_,
                                             .y = y_,
                                             .options = graph_.options,
                                             .input_batch_norm = norm_,
                                             .addend = graph_.add_to_output ? y_ : addend_,
                                             .relu = graph_.relu});
      case Direction::by_data:
        return backend_.convolution_backward_data({.dy = y_,
                                                   .weight = weight_,
                                                   .addend = graph_.add_to_output ? x_ : Tensor(),
                                                   .dx = x_,
                                                   .options = graph_.options});
      case Direction::by_weights:
        return backend_.convolution_backward_weights(
            {.x = x_, .dy = y_, .d_weight = weight_, .options = graph_.options});
    }
  }

  /// What one run gives, as it lies in memory.
  std::vector<char> bytes() const {
    run_afresh();
    std::vector<char> bytes(output().bytes());
    backend_.copy_to_host(output(), bytes.data());
    return bytes;
  }
  std::vector<double> values() const {
    run_afresh();
    return output().to_doubles();
  }

 private:
  const Tensor& output() const {
    return graph_.direction == Direction::forward ? y_ : graph_.direction == Direction::by_data ? x_ : weight_;
  }
  void run_afresh() const {
    if (before_.defined()) backend_.copy(before_, output());
    run();
  }
  Tensor drawn(const Shape& shape, DType dtype = DType::float32) {
    const Tensor numbers(backend_, shape);
    backend_.draw_numbers({.out = numbers, .stream = ++draws_});
    if (dtype == DType::float32) return numbers;
    const Tensor narrow(backend_, shape, dtype);
    cast(numbers, narrow, stream_);
    return narrow;
  }
  Tensor copy_of(const Tensor& tensor) const {
    const Tensor copy(backend_, tensor.shape(), tensor.dtype());
    backend_.copy(tensor, copy);
    return copy;
  }

  Backend& backend_;
  cudaStream_t stream_;
  const ConvolutionGraph& graph_;
  std::uint64_t draws_ = 0;
  Tensor x_, weight_, y_, bias_, addend_, before_;
  BatchNormCoefficients norm_;
};

/// How much of it is more than one operation: parts have less, so they are tuned first.
int complexity(const ConvolutionGraph& graph) {
  return int{graph.normalise} + int{graph.bias} + int{graph.addend} + int{graph.relu} + int{graph.add_to_output} +
         int{graph.maps != graph.filters};
}

/// How far a result may be from the direct kernel's: operands and, in bfloat16, results are rounded to 8, 11 or 24 bits.
double tolerance(const ConvolutionGraph& graph, bool tf32) {
  return graph.maps == DType::bfloat16 ? 5e-2 : tf32 ? 2e-2 : 1e-3;
}

/// The largest difference, in units of the truth's own size and its root mean square; infinite where one is no number.
double distance(const std::vector<double>& got, const std::vector<double>& truth) {
  double squares = 0.0, largest = 0.0;
  for (const double value : truth) squares += value * value;
  const double size = std::sqrt(squares / static_cast<double>(truth.size()));
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double difference = std::abs(got[i] - truth[i]) / (size + std::abs(truth[i]));
    if (!std::isfinite(difference)) return HUGE_VAL;
    largest = std::max(largest, difference);
  }
  return largest;
}

class Tuner {
 public:
  Tuner(Backend& backend, CudnnConvolutions& convolutions, cudaStream_t stream)
      : backend_(backend), convolutions_(convolutions), stream_(stream), stopwatch_(stream) {}

  std::vector<ConvolutionGraph> graphs_of(const std::function<void()>& work) {
    std::vector<ConvolutionGraph> asked;
    without_cudnn(&asked, work);
    std::stable_sort(asked.begin(), asked.end(),
                     [](const auto& a, const auto& b) { return complexity(a) < complexity(b); });
    return asked;
  }

  /// `by_order` is set to the time of the first that is proposed.
  TunedPlan best_for(const ConvolutionGraph& graph, double* by_order) {
    const Call call(backend_, stream_, graph);
    std::vector<double> truth;
    std::vector<ConvolutionGraph> ignored;
    without_cudnn(&ignored, [&] { truth = call.values(); });

    TunedPlan best{.engine = kInParts, .microseconds = HUGE_VAL};
    std::optional<cudnn::Plan> fastest;
    const auto keep_faster = [&](TunedPlan tuned) {
      const bool faster = tuned.microseconds < best.microseconds;
      if (faster) std::swap(best, tuned);
      if (faster) std::swap(best.slower, tuned.slower);
      if (!tuned.description.empty()) best.slower[tuned.description] = tuned.microseconds;
      return faster;
    };
    if (convolutions_.own_applies(graph)) {
      convolutions_.use(graph, std::nullopt, /*own=*/true);
      if (sound(call, graph, truth)) {
        *by_order = time_of(call, HUGE_VAL);
        keep_faster({.engine = kOwnEngine,
                     .description = filter_gradient_description(graph.x, graph.weight, graph.options, graph.maps,
                                                                convolutions_.tf32()),
                     .microseconds = *by_order,
                     .slower = {},
                     .plan = {}});
      }
    }
    for (const cudnn::Plan& plan : convolutions_.candidates(graph)) {
      const std::string serialised = plan.serialised();
      if (serialised.empty()) continue;  // no later run could have it
      convolutions_.use(graph, plan);
      const std::optional<double> time = time_of_what_works(call);
      if (!time) continue;
      if (*by_order < 0.0) *by_order = *time;
      if (*time < best.microseconds && !sound(call, graph, truth)) continue;
      const bool faster = keep_faster({.engine = kCudnnEngine,
                                       .description = description_of(plan),
                                       .microseconds = *time,
                                       .slower = {},
                                       .plan = serialised});
      if (faster) fastest = plan;
    }
    convolutions_.use(graph, std::nullopt);
    const char* const parts = complexity(graph) > 0 ? "in parts" : "our direct kernel";
    if (keep_faster({.engine = kInParts, .description = parts, .microseconds = time_of(call, best.microseconds)}))
      fastest.reset();
    convolutions_.use(graph, fastest, best.engine == kOwnEngine);
    return best;
  }

 private:
  void without_cudnn(std::vector<ConvolutionGraph>* asked, const std::function<void()>& work) {
    convolutions_.collect(asked);
    try {
      work();
    } catch (...) {
      convolutions_.collect(nullptr);
      throw;
    }
    convolutions_.collect(nullptr);
  }

  static std::string description_of(const cudnn::Plan& plan) {
    const std::string settings = plan.settings();
    return plan.description() + (settings.empty() ? "" : ", " + settings);
  }

  /// Nothing of an engine that fails or can't be recorded.
  std::optional<double> time_of_what_works(const Call& call) {
    try {
      return time_of(call, HUGE_VAL);
    } catch (const OutOfMemory&) {
      throw;
    } catch (const Error&) {
      return {};
    }
  }

  /// Whether the sums are right, and the same bits again and again.
  bool sound(const Call& call, const ConvolutionGraph& graph, const std::vector<double>& truth) const {
    if (!(distance(call.values(), truth) <= tolerance(graph, convolutions_.tf32()))) return false;
    const std::vector<char> bytes = call.bytes();
    for (int again = 1; again < kRepetitions; ++again) {
      if (call.bytes() != bytes) return false;
    }
    return true;
  }

  /// Of a call among others like it, as it would be in a recorded step. What is far slower than `enough` is timed once.
  double time_of(const Call& call, double enough) {
    call.run();  // what is made at the first time
    const double once = std::max(1.0, stopwatch_.of([&] { call.run(); }));
    if (once > kFarSlower * std::max(enough, kLaunch)) return once;
    const int calls = std::clamp(static_cast<int>(kTimedMicroseconds / once), 1, kMostCalls);
    std::function<void()> run = [&] {
      for (int i = 0; i < calls; ++i) call.run();
    };
    std::optional<GraphRecording> recording;
    if (backend_.can_record()) {
      recording.emplace(stream_, backend_.allocator(), &convolutions_.workspace(), run);
      run = [&] { recording->replay(); };
    }
    std::vector<double> times;
    for (int i = 0; i < kTimings; ++i) times.push_back(stopwatch_.of(run) / calls);
    std::nth_element(times.begin(), times.begin() + kTimings / 2, times.end());
    return std::round(100.0 * times[kTimings / 2]) / 100.0;
  }

  Backend& backend_;
  CudnnConvolutions& convolutions_;
  cudaStream_t stream_;
  Stopwatch stopwatch_;
};

}  // namespace

std::map<std::string, TunedPlan> tune(Backend& backend, CudnnConvolutions& convolutions, cudaStream_t stream,
                                      const std::function<void()>& work,
                                      const std::function<void(const TuningProgress&)>& watch) {
  Tuner tuner(backend, convolutions, stream);
  const std::vector<ConvolutionGraph> graphs = tuner.graphs_of(work);
  TuningProgress progress{.count = graphs.size()};
  if (watch) watch(progress);
  std::map<std::string, TunedPlan> plans;
  for (const ConvolutionGraph& graph : graphs) {
    progress.name = convolutions.name_in_file(graph);
    progress.by_order = -1.0;
    TunedPlan& tuned = plans[progress.name] = tuner.best_for(graph, &progress.by_order);
    progress.tuned = &tuned;
    progress.done += 1;
    if (watch) watch(progress);
  }
  return plans;
}

}  // namespace stagewise::cuda
