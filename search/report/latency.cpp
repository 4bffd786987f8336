#include "search/report/latency.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "layers/inference.h"
#include "tensor/random.h"

namespace stagewise {

namespace {

constexpr std::size_t kFewest = 5, kMost = 1000;
constexpr int kUntimed = 3;

/// The nearest-rank percentile of sorted values.
double percentile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

Tensor noise(const Network& network, std::int64_t batch, DType type) {
  const Architecture& architecture = network.architecture();
  const Shape shape{batch, architecture.height, architecture.width, architecture.channels};
  const Random random(0, stream_of("latency"));
  std::vector<double> values(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(random.bits(i)) / 2147483648.0 - 1.0;
  return Tensor::from_doubles(network.backend(), shape, values, type);
}

}  // namespace

Latency measure_latency(const Network& network, std::int64_t batch, DType feature_maps, double seconds,
                        EnergyMeter& energy) {
  using Clock = std::chrono::steady_clock;
  const InferenceNetwork inference(network);
  const Tensor images = noise(network, batch, feature_maps);
  const auto answer = [&] { return inference.logits(images).to_doubles(); };  // which waits for the device
  for (int i = 0; i < kUntimed; ++i) answer();

  std::vector<double> milliseconds;
  const Clock::time_point began = Clock::now();
  energy.take();
  while (milliseconds.size() < kFewest ||
         (milliseconds.size() < kMost && Clock::now() - began < std::chrono::duration<double>(seconds))) {
    const Clock::time_point before = Clock::now();
    answer();
    milliseconds.push_back(std::chrono::duration<double, std::milli>(Clock::now() - before).count());
  }
  const std::optional<double> joules = energy.take();
  std::sort(milliseconds.begin(), milliseconds.end());
  Latency latency{.batch = batch,
                  .repetitions = std::ssize(milliseconds),
                  .median = percentile(milliseconds, 0.5),
                  .percentile95 = percentile(milliseconds, 0.95),
                  .joules_an_image = {}};
  if (joules) latency.joules_an_image = *joules / static_cast<double>(batch * latency.repetitions);
  return latency;
}

}  // namespace stagewise
