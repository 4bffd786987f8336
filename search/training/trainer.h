// Training over a part of a pass, and passes of evaluation: what everything above is made of.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>

#include "datasets/loader.h"
#include "layers/schedule.h"
#include "search/training/learner.h"

namespace stagewise {

struct TrainingOptions {
  std::int64_t epochs = 8;
  std::int64_t batch_size = 128;
  Schedule schedule;
  OptimiserOptions optimiser;
  double label_smoothing = 0.1;
  Augmentation augmentation;
  std::uint64_t seed = 0;  // of the images' order and their augmentation
  /// The classifier alone learns. All before it answers as in an evaluation: its batch norms' running statistics are
  /// used, and stay what they are.
  bool freeze_trunk = false;
};

/// What a pass over images came to.
struct PassResult {
  std::int64_t images = 0, right = 0;
  double loss = 0.0;  // mean over the images
  double seconds = 0.0;
  double accuracy() const { return images > 0 ? static_cast<double>(right) / static_cast<double>(images) : 0.0; }
};

/// How far one pass over images has come.
struct PassProgress {
  std::int64_t images_done = 0, images_total = 0;
  double loss = 0.0, accuracy = 0.0;  // over the images read back so far; valid when `has_totals`
  bool has_totals = false;
};

/// Called after every batch; may throw to stop the pass. Losses are read from the device every twenty batches only.
using PassCallback = std::function<void(const PassProgress&)>;

/// A place between two batches of a training: all that it takes, beside the learner, to go on with the same bits.
struct PassPosition {
  std::int64_t pass = 0;    // numbers the draws (order, crops, flips): no two passes of a run see the same ones
  std::int64_t batch = 0;   // of the pass, comes next
  std::int64_t images = 0;  // of the pass so far, and what came out on them
  double loss_sum = 0.0;
  std::int64_t right = 0;
};

/// How the next batch is trained with.
struct StepChoice {
  double rate = 0.0;
  std::uint64_t network_form = 0;  // which blocks are skipped: a device keeps a recording of the step for each form
};

/// Asked before each batch, with its number of images; may skip blocks of the network. Nothing: stop here.
using StepChooser = std::function<std::optional<StepChoice>(std::int64_t images)>;

/// Trains on from `position`, over the images at `indices`, until the pass ends (true; `position` is then the next
/// pass's beginning, and `result` the pass's) or `choose` stops it (false). Errors: throws Error when the loss is no
/// longer a number, or so large that the training has diverged.
bool train_pass(Learner& learner, const ImageStore& images, std::span<const std::int32_t> indices,
                const TrainingOptions& options, PassPosition& position, PassResult& result, const StepChooser& choose,
                const PassCallback& callback = {});

/// Whether a mean loss is one that a training can have: else it has diverged.
bool is_sound(double loss);

/// The images that a pass over `count` of them trains on: all but a last one that would be a batch of its own.
std::int64_t images_in_pass(std::int64_t count, std::int64_t batch_size);

/// One whole pass as `options` has it: the schedule runs over options.epochs passes from `first_epoch` on.
PassResult train_epoch(Learner& learner, const ImageStore& images, std::span<const std::int32_t> indices,
                       const TrainingOptions& options, std::int64_t epoch, std::int64_t first_epoch = 0,
                       const PassCallback& callback = {});

/// Loss (without smoothing) and right answers on the images at `indices`, as they are.
PassResult evaluate(const Network& network, const ImageStore& images, std::span<const std::int32_t> indices,
                    const PassCallback& callback = {});

/// The running statistics become the plain mean of the batches' over the images at `indices`, as they are: what belongs
/// to a network that has changed, or to averaged weights. Skipped blocks keep theirs.
void estimate_running_statistics(Network& network, const ImageStore& images, std::span<const std::int32_t> indices);

/// 0, 1, ..., count-1: all images of a store.
std::vector<std::int32_t> all_indices(std::int64_t count);

/// Calls `visit` with each batch of the images at `indices`, as they are, in order. Where memory is short, batches are
/// halved and visited again: so a visit allocates all that it needs before it changes anything that stays.
void for_each_batch(const ImageStore& images, std::span<const std::int32_t> indices,
                    const std::function<void(const Batch&)>& visit);

}  // namespace stagewise
