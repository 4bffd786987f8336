#include "search/training/trainer.h"

#include <chrono>
#include <cmath>
#include <memory>
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

/// One step of training again and again. Where the device can, a step of a full batch is recorded once it is steady and
/// replayed from then on, with the batch and the learning rate handed over in tensors that stay. A recording lasts an
/// epoch, so a network that has grown gets its own.
class TrainingStep {
 public:
  TrainingStep(const ResNet& network, Sgd& optimiser, const TrainingOptions& options, const Tensor& totals)
      : network_(network), optimiser_(optimiser), options_(options), totals_(totals) {}

  void run(const Batch& batch, double learning_rate) {
    Backend& backend = network_.backend();
    const bool full = batch.count() == options_.batch_size;
    if (!full || !backend.can_record() || full_batches_++ < kUntilSteady) return step(batch, learning_rate);
    if (!kept_.x.defined()) {
      kept_ = {.x = Tensor(backend, batch.x.shape(), batch.x.dtype()),
               .labels = Tensor(backend, batch.labels.shape(), batch.labels.dtype())};
      rate_ = Tensor(backend, {1});
    }
    backend.copy(batch.x, kept_.x);
    backend.copy(batch.labels, kept_.labels);
    const auto rate = static_cast<float>(learning_rate);
    backend.copy_from_host(&rate, rate_);
    if (recording_) return recording_->replay();
    recording_ = backend.record([this] { step(kept_, rate_); });
  }

 private:
  static constexpr int kUntilSteady = 2;  // steps: velocities are there, plans are made, buffers are cached

  template <class Rate>
  void step(const Batch& batch, const Rate& rate) {
    Tape tape;
    const Context context{.tape = &tape, .training = true};
    const Variable logits = network_.forward(context, Variable(batch.x));
    tape.backward(softmax_cross_entropy(context, logits, batch.labels, options_.label_smoothing, totals_));
    optimiser_.step(network_, rate);
  }

  const ResNet& network_;
  Sgd& optimiser_;
  const TrainingOptions& options_;
  const Tensor totals_;
  int full_batches_ = 0;
  Batch kept_;
  Tensor rate_;
  std::unique_ptr<Recording> recording_;  // goes before what it works on
};

/// So that no label lies beyond the logits, which no op looks at.
void check_classes(const ResNet& network, const ImageStore& images) {
  const std::int64_t known = network.architecture().classes;
  require(images.classes() == known, "[data] the network knows ", known, " classes, the images are of ",
          images.classes());
}

}  // namespace

PassResult train_epoch(const ResNet& network, Sgd& optimiser, const ImageStore& images,
                       std::span<const std::int32_t> indices, const TrainingOptions& options, std::int64_t epoch,
                       std::int64_t first_epoch, const PassCallback& callback) {
  check_classes(network, images);
  TrainingEpoch batches(images, indices, options.batch_size, options.augmentation, options.seed, epoch);
  Tally tally(network.backend(), static_cast<std::int64_t>(indices.size()), callback);
  TrainingStep step(network, optimiser, options, tally.totals());
  const std::int64_t first_step = (epoch - first_epoch) * batches.batches();
  for (std::int64_t b = 0; b < batches.batches(); ++b) {
    const Batch batch = batches.next();
    step.run(batch, options.schedule.at(first_step + b, options.epochs * batches.batches()));
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
  check_classes(network, images);
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
