#include "search/training/trainer.h"

#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>

#include "layers/inference.h"

namespace stagewise {

namespace {

constexpr std::int64_t kLargestEvaluationBatch = 256;
constexpr std::int64_t kEvaluatedPixels = kLargestEvaluationBatch * 32 * 32;  // a batch's, of larger images fewer
constexpr std::int64_t kBatchesBetweenReads = 20;

/// Loss and right answers, summed on the device and read back late: reading waits for the device.
class Tally {
 public:
  Tally(Backend& backend, std::int64_t images_total, const PassCallback& callback, const PassPosition& from = {})
      : totals_(Tensor::from_host(backend, {2}, std::vector<double>{from.loss_sum, static_cast<double>(from.right)})),
        callback_(callback) {
    progress_.images_total = images_total;
    progress_.images_done = images_before_ = from.images;
  }

  const Tensor& totals() const { return totals_; }

  void add_batch(std::int64_t images) {
    progress_.images_done += images;
    if (++batches_ % kBatchesBetweenReads == 0 && callback_) read();
    if (callback_) callback_(progress_);
  }

  /// Of the whole pass so far; its seconds are those since here.
  PassResult result() {
    if (progress_.images_done > images_before_) read();
    return {.images = progress_.images_done, .right = right_, .loss = progress_.loss, .seconds = seconds()};
  }

  void store(PassPosition& position) {
    const std::vector<double> sums = totals_.to_host<double>();
    position.images = progress_.images_done;
    position.loss_sum = sums[0];
    position.right = std::llround(sums[1]);
  }

 private:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count(); }

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
  std::int64_t images_before_ = 0, batches_ = 0, right_ = 0;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

/// One step of training again and again. Where the device can, a step of a full batch is recorded once it is steady and
/// replayed from then on, with the batch and the learning rate handed over in tensors that stay: a recording for each
/// form of the network. They last until the pass ends, so a network that has grown gets its own. The device makes the
/// batch where it will be read, and the rate travels with a launch: nothing is uploaded, which would wait for the device.
class TrainingStep {
 public:
  TrainingStep(Learner& learner, const TrainingOptions& options, const Tensor& totals)
      : learner_(learner), options_(options), totals_(totals) {
    if (options.freeze_trunk) trunk_.emplace(*learner.network);
  }

  /// On the next of `batches`.
  void run(TrainingEpoch& batches, const StepChoice& choice) {
    Backend& backend = learner_.network->backend();
    const bool full = batches.next_size() == options_.batch_size;
    Form& form = forms_[choice.network_form];
    if (!full || !backend.can_record() || form.eager_steps++ < kUntilSteady) return step(batches.next(), choice.rate);
    kept_ = batches.next(kept_);
    if (!rate_.defined()) rate_ = Tensor(backend, {1});
    backend.fill(rate_, choice.rate);
    if (form.recording) return form.recording->replay();
    form.recording = backend.record([this] { step(kept_, rate_); });
    if (form.recording) return;
    forms_.clear();  // no more recordings: their memory is free for steps that aren't
    clear_gradients();
    step(kept_, rate_);
  }

 private:
  static constexpr int kUntilSteady = 2;  // steps: the optimiser's state is there, plans are made, buffers are cached

  struct Form {
    int eager_steps = 0;
    std::unique_ptr<Recording> recording;
  };

  template <class Rate>
  void step(const Batch& batch, const Rate& rate) {
    Network& network = *learner_.network;
    Tape tape;
    const Context context{.tape = &tape, .training = true};
    const Variable logits = trunk_ ? linear(context, Variable(trunk_->features(batch.x)), network.classifier_weight(),
                                            network.classifier_bias())
                                   : network.forward(context, Variable(batch.x));
    tape.backward(softmax_cross_entropy(context, logits, batch.labels, options_.label_smoothing, totals_));
    learner_.optimiser->step(network, rate);
    if (learner_.average) learner_.average->step(network);
  }

  void clear_gradients() {
    learner_.network->visit(
        {.parameter = [](const std::string&, const Variable& parameter, bool /*decays*/) { parameter.clear_grad(); }});
  }

  Learner& learner_;
  const TrainingOptions& options_;
  const Tensor totals_;
  std::optional<InferenceNetwork> trunk_;  // where it is frozen
  Batch kept_;
  Tensor rate_;
  std::map<std::uint64_t, Form> forms_;  // they go before what they work on
};

void check_sound(double loss, const PassPosition& position, const TrainingOptions& options) {
  require(is_sound(loss), "the training diverged: the loss of epoch ", position.pass + 1, " is ", loss,
          ". Try a lower --learning-rate than ", options.schedule.peak,
          ", or go on from the last checkpoint: --resume, with a --rate-factor below 1");
}

/// A loss is that of the weights before its step: what the last step did to them shows in another forward pass, of a
/// few images, which leaves the running statistics alone.
void check_last_step(const Learner& learner, const ImageStore& images, std::span<const std::int32_t> indices,
                     const PassPosition& position, const TrainingOptions& options) {
  const Batch batch = images.batch(indices.first(std::min<std::size_t>(indices.size(), 64)));
  const Context context{.training = !options.freeze_trunk, .statistics_momentum = 0.0};
  const Variable logits = learner.network->forward(context, Variable(batch.x));
  const Variable loss = softmax_cross_entropy(context, logits, batch.labels);
  check_sound(loss.value().to_doubles()[0], position, options);
}

/// How many images an evaluation takes at a time: of large ones fewer, so that their maps fit.
std::int64_t evaluation_batch(const ImageStore& images) {
  const Shape shape = images.image_shape();
  return std::clamp<std::int64_t>(kEvaluatedPixels / (shape[0] * shape[1]), 1, kLargestEvaluationBatch);
}

/// So that no label lies beyond the logits, which no op looks at.
void check_classes(const Network& network, const ImageStore& images) {
  const std::int64_t known = network.architecture().classes;
  require(images.classes() == known, "[data] the network knows ", known, " classes, the images are of ",
          images.classes());
}

}  // namespace

// Sound losses are near log(classes); what is a thousand times that will not come back.
bool is_sound(double loss) { return std::isfinite(loss) && loss < 1e4; }

bool train_pass(Learner& learner, const ImageStore& images, std::span<const std::int32_t> indices,
                const TrainingOptions& options, PassPosition& position, PassResult& result, const StepChooser& choose,
                const PassCallback& callback) {
  check_classes(*learner.network, images);
  learner.network->backend().expect_batch(options.batch_size);
  TrainingEpoch batches(images, indices, options.batch_size, options.augmentation, options.seed, position.pass);
  batches.skip_to(position.batch);
  Tally tally(learner.network->backend(), static_cast<std::int64_t>(indices.size()), callback, position);
  TrainingStep step(learner, options, tally.totals());
  const std::int64_t first = position.batch;
  for (; position.batch < batches.batches(); ++position.batch) {
    const std::optional<StepChoice> choice = choose(batches.next_size());
    if (!choice) {
      tally.store(position);
      if (position.batch == first) return false;
      check_sound(position.loss_sum / static_cast<double>(position.images), position, options);
      check_last_step(learner, images, indices, position, options);
      return false;
    }
    const std::int64_t size = batches.next_size();
    step.run(batches, *choice);
    tally.add_batch(size);
  }
  result = tally.result();
  check_sound(result.loss, position, options);
  check_last_step(learner, images, indices, position, options);
  position = {.pass = position.pass + 1};
  return true;
}

std::int64_t images_in_pass(std::int64_t count, std::int64_t batch_size) {
  return count > 1 && batch_size > 1 && count % batch_size == 1 ? count - 1 : count;
}

PassResult train_epoch(Learner& learner, const ImageStore& images, std::span<const std::int32_t> indices,
                       const TrainingOptions& options, std::int64_t epoch, std::int64_t first_epoch,
                       const PassCallback& callback) {
  PassPosition position{.pass = epoch};
  PassResult result;
  const auto count = static_cast<std::int64_t>(indices.size());
  const double steps_a_pass = std::ceil(static_cast<double>(images_in_pass(count, options.batch_size)) /
                                        static_cast<double>(options.batch_size));
  train_pass(
      learner, images, indices, options, position, result,
      [&](std::int64_t) {
        const double passes =
            static_cast<double>(epoch - first_epoch) + static_cast<double>(position.batch) / steps_a_pass;
        return StepChoice{.rate = options.schedule.at(passes / static_cast<double>(options.epochs))};
      },
      callback);
  return result;
}

void for_each_batch(const ImageStore& images, std::span<const std::int32_t> indices,
                    const std::function<void(const Batch&)>& visit) {
  auto most = static_cast<std::size_t>(evaluation_batch(images));
  std::optional<BatchReader> reader;
  while (!indices.empty()) {
    const auto count = std::min(indices.size(), most);
    try {
      if (!reader) reader.emplace(images, indices);
      visit(reader->next(static_cast<std::int64_t>(count)));
    } catch (const OutOfMemory&) {
      if (count == 1) throw;
      most = count / 2;
      reader.reset();  // the images are read again
      continue;
    }
    indices = indices.subspan(count);
  }
}

PassResult evaluate(const Network& network, const ImageStore& images, std::span<const std::int32_t> indices,
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

void estimate_running_statistics(Network& network, const ImageStore& images, std::span<const std::int32_t> indices) {
  double batches = 0.0;
  for_each_batch(images, indices, [&](const Batch& batch) {
    batches += 1.0;
    network.forward(Context{.training = true, .statistics_momentum = 1.0 / batches}, Variable(batch.x));
  });
}

std::vector<std::int32_t> all_indices(std::int64_t count) {
  std::vector<std::int32_t> indices(static_cast<std::size_t>(count));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

}  // namespace stagewise
