// One epoch of training and one pass of evaluation: what everything above is made of.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "datasets/loader.h"
#include "layers/schedule.h"
#include "layers/sgd.h"

namespace stagewise {

struct TrainingOptions {
  std::int64_t epochs = 8;
  std::int64_t batch_size = 128;
  Schedule schedule;
  SgdOptions sgd;
  double label_smoothing = 0.1;
  Augmentation augmentation;
  std::uint64_t seed = 0;  // of the images' order and their augmentation
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

/// One epoch on the images at `indices`. The schedule runs over options.epochs epochs, of which `first_epoch` is the
/// first; `epoch` itself numbers the draws (order, crops, flips), so that no two epochs of a run see the same ones.
/// Errors: throws Error when the loss is no longer a number.
PassResult train_epoch(const ResNet& network, Sgd& optimiser, const ImageStore& images,
                       std::span<const std::int32_t> indices, const TrainingOptions& options, std::int64_t epoch,
                       std::int64_t first_epoch = 0, const PassCallback& callback = {});

/// Loss (without smoothing) and right answers on the images at `indices`, as they are.
PassResult evaluate(const ResNet& network, const ImageStore& images, std::span<const std::int32_t> indices,
                    const PassCallback& callback = {});

/// 0, 1, ..., count-1: all images of a store.
std::vector<std::int32_t> all_indices(std::int64_t count);

/// Calls `visit` with each batch of the images at `indices`, as they are, in order.
void for_each_batch(const ImageStore& images, std::span<const std::int32_t> indices,
                    const std::function<void(const Batch&)>& visit);

}  // namespace stagewise
