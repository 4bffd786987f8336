#include "search/trainer.h"

#include <chrono>
#include <cmath>
#include <numeric>

#include "layers/inference.h"
namespace stagewise {

namespace {

constexpr std::int64_t kEvaluationBatch = 256;
constexpr std::int64_t kBatchesBetweenReads = 20;

/// Loss and right answers, summed on the device and read back late: reading waits for the device.
class Tally {
 public:
  Tally(Backend& backend, std::int64_t images_total, const PassCallback& callback)
      : totals_(Tensor::zeros(backend, {2}, DType::float64)), callback_(callback) {
    progress_.images_total = images_total;
  }

  const Tensor& totals() const { return totals_; }

  void add_batch(std::int64_t images) {
    progress_.images_done += images;
    if (++batches_ % kBatchesBetweenReads == 0 && callback_) read();
    if (callback_) callback_(progress_);
  }

  PassResult result() {
    if (progress_.images_done > 0) read();
    return {.images = progress_.images_done,
            .right = right_,
            .loss = progress_.loss,
            .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count()};
  }

 private:
  void read() {
    const std::vector<double> sums = totals_.to_host<double>();
    const auto images = static_cast<double>(progress_.images_done);
    right_ = std::llround(sums[1]);
    progress_.loss = sums[0] / images;
    progress_.accuracy = sums[1] / images;
    progress_.has_totals = true;
  }

  Tensor totals_;
  const PassCallback& callback_;
  PassProgress progress_;
  std::int64_t batches_ = 0, right_ = 0;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace

PassResult train_epoch(const ResNet& network, Sgd& optimiser, const ImageStore& images,
                       std::span<const std::int32_t> indices, const TrainingOptions& options, std::int64_t epoch,
                       std::int64_t first_epoch, const PassCallback& callback) {
  TrainingEpoch batches(images, indices, options.batch_size, options.augmentation, options.seed, epoch);
  Tally tally(network.backend(), static_cast<std::int64_t>(indices.size()), callback);
  const std::int64_t first_step = (epoch - first_epoch) * batches.batches();
  for (std::int64_t b = 0; b < batches.batches(); ++b) {
    const Batch batch = batches.next();
    Tape tape;
    const Context context{.tape = &tape, .training = true};
    const Variable logits = network.forward(context, Variable(batch.x));
    tape.backward(softmax_cross_entropy(context, logits, batch.labels, options.label_smoothing, tally.totals()));
    optimiser.step(network, options.schedule.at(first_step + b, options.epochs * batches.batches()));
    tally.add_batch(batch.count());
  }
  const PassResult result = tally.result();
  require(std::isfinite(result.loss), "the training diverged: the loss of epoch ", epoch + 1, " is ", result.loss,
          ". Try a lower --learning-rate than ", options.schedule.peak);
  return result;
}

void for_each_batch(const ImageStore& images, std::span<const std::int32_t> indices,
                    const std::function<void(const Batch&)>& visit) {
  while (!indices.empty()) {
    const auto count = std::min<std::size_t>(indices.size(), kEvaluationBatch);
    visit(images.batch(indices.first(count)));
    indices = indices.subspan(count);
  }
}

PassResult evaluate(const ResNet& network, const ImageStore& images, std::span<const std::int32_t> indices,
                    const PassCallback& callback) {
  const InferenceNetwork inference(network);
  Tally tally(network.backend(), static_cast<std::int64_t>(indices.size()), callback);
  for_each_batch(images, indices, [&](const Batch& batch) {
    softmax_cross_entropy(Context{}, Variable(inference.logits(batch.x)), batch.labels, 0.0, tally.totals());
    tally.add_batch(batch.count());
  });
  return tally.result();
}

std::vector<std::int32_t> all_indices(std::int64_t count) {
  std::vector<std::int32_t> indices(static_cast<std::size_t>(count));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

}  // namespace stagewise
