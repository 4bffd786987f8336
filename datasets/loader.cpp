#include "datasets/loader.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <thread>

#include "datasets/shuffle.h"
#include "tensor/error.h"

namespace stagewise {
namespace {

constexpr std::size_t kBatchesAhead = 4;

/// What a batch is made from.
struct Draws {
  std::vector<std::int32_t> draws;  // [B,4]
  std::vector<std::int32_t> labels;
};

}  // namespace

ImageStore::ImageStore(Backend& backend, const Images& images, const Normalisation& normalisation, DType feature_maps)
    : backend_(&backend), feature_maps_(feature_maps), labels_(images.labels) {
  const Shape shape{images.count(), images.height, images.width, images.channels};
  require(images.count() > 0 && images.image_bytes() > 0, "[loader] there are no images: their shape is ", shape);
  require(images.count() <= std::numeric_limits<std::int32_t>::max(), "[loader] expected fewer than 2^31 images, got ",
          images.count());
  const auto fits = [](std::size_t size, std::int64_t expected) { return static_cast<std::int64_t>(size) == expected; };
  require(fits(images.pixels.size(), shape.count()), "[loader] expected ", shape.count(), " bytes of pixels for shape ",
          shape, ", got ", images.pixels.size());
  require(fits(normalisation.scale.size(), images.channels) && fits(normalisation.offset.size(), images.image_bytes()),
          "[loader] expected a normalisation of ", images.channels, " scales and ", images.image_bytes(),
          " offsets for images ", shape, ", got ", normalisation.scale.size(), " and ", normalisation.offset.size());
  images_ = Tensor::from_host(backend, shape, images.pixels);
  scale_ = Tensor::from_host(backend, {images.channels}, normalisation.scale);
  offset_ = Tensor::from_host(backend, {images.height, images.width, images.channels}, normalisation.offset);
}

Batch ImageStore::batch(std::span<const std::int32_t> indices) const {
  std::vector<std::int32_t> draws, labels;
  for (const std::int32_t index : indices) {
    require(index >= 0 && index < count(), "[loader] expected indices from 0 to ", count() - 1, ", got ", index);
    draws.insert(draws.end(), {index, 0, 0, 0});
    labels.push_back(labels_[static_cast<std::size_t>(index)]);
  }
  return batch(draws, labels);
}

Batch ImageStore::batch(std::span<const std::int32_t> draws, std::span<const std::int32_t> labels) const {
  require(!labels.empty() && draws.size() == 4 * labels.size(), "[loader] expected four draws for each label, got ",
          draws.size(), " draws and ", labels.size(), " labels");
  const Shape& images = images_.shape();
  for (std::size_t i = 0; i < draws.size(); i += 4) {
    const std::int32_t index = draws[i], row = draws[i + 1], column = draws[i + 2], flip = draws[i + 3];
    require(index >= 0 && index < images[0] && row > -images[1] && row < images[1] && column > -images[2] &&
                column < images[2] && (flip == 0 || flip == 1),
            "[loader] expected draws of an index, two shifts within the image, and 0 or 1 for images ", images,
            ", got (", index, ", ", row, ", ", column, ", ", flip, ")");
  }
  const auto size = static_cast<std::int64_t>(labels.size());
  Batch batch{.x = Tensor(*backend_, {size, images[1], images[2], images[3]}, feature_maps_),
              .labels = Tensor::from_host(*backend_, {size}, labels)};
  backend_->augment({.images = images_,
                     .draws = Tensor::from_host(*backend_, {size, 4}, draws),
                     .scale = scale_,
                     .offset = offset_,
                     .x = batch.x});
  return batch;
}

/// The epoch's order, the queue of batches drawn ahead, and the thread that fills it.
struct TrainingEpoch::Ahead {
  const ImageStore& store;
  std::vector<std::int32_t> order;
  std::int64_t batch_size, batches, taken = 0;
  std::int64_t row_padding, column_padding;
  bool flip;
  Random random;

  std::mutex mutex;
  std::condition_variable_any changed;
  std::deque<Draws> ready;
  std::jthread thread;  // last: it stops before what it uses goes

  Draws draw(std::int64_t batch) const;
  void fill(const std::stop_token& stop);
};

Draws TrainingEpoch::Ahead::draw(std::int64_t batch) const {
  const auto shift = [this](std::uint64_t index, std::int64_t padding) {
    const auto drawn = random.below(index, static_cast<std::uint64_t>(2 * padding + 1));
    return static_cast<std::int32_t>(static_cast<std::int64_t>(drawn) - padding);
  };
  Draws result;
  const auto first = static_cast<std::size_t>(batch * batch_size);
  const std::size_t end = std::min(first + static_cast<std::size_t>(batch_size), order.size());
  for (std::size_t place = first; place < end; ++place) {
    const std::int32_t index = order[place];
    const std::int32_t flipped = flip && random.below(3 * place + 2, 2) == 1 ? 1 : 0;
    result.draws.insert(result.draws.end(),
                        {index, shift(3 * place, row_padding), shift(3 * place + 1, column_padding), flipped});
    result.labels.push_back(store.labels()[static_cast<std::size_t>(index)]);
  }
  return result;
}

void TrainingEpoch::Ahead::fill(const std::stop_token& stop) {
  for (std::int64_t batch = 0; batch < batches; ++batch) {
    Draws drawn = draw(batch);
    std::unique_lock lock(mutex);
    if (!changed.wait(lock, stop, [this] { return ready.size() < kBatchesAhead; })) return;
    ready.push_back(std::move(drawn));
    changed.notify_all();
  }
}

TrainingEpoch::TrainingEpoch(const ImageStore& store, std::span<const std::int32_t> indices, std::int64_t batch_size,
                             const Augmentation& augmentation, std::uint64_t seed, std::int64_t epoch) {
  require(batch_size >= 1, "[loader] expected a batch size of at least 1, got ", batch_size);
  require(augmentation.crop_padding >= 0, "[loader] expected a crop padding of at least 0, got ",
          augmentation.crop_padding);
  require(!indices.empty(), "[loader] there are no images to train on");
  for (const std::int32_t index : indices) {
    require(index >= 0 && index < store.count(), "[loader] expected indices from 0 to ", store.count() - 1, ", got ",
            index);
  }
  const auto count = static_cast<std::int64_t>(indices.size());
  const bool leave_one_out = count > 1 && batch_size > 1 && count % batch_size == 1;
  const std::int64_t batches = count / batch_size + (count % batch_size != 0 && !leave_one_out ? 1 : 0);
  const auto number = static_cast<std::uint64_t>(epoch);
  ahead_.reset(new Ahead{.store = store,
                         .order = {indices.begin(), indices.end()},
                         .batch_size = batch_size,
                         .batches = batches,
                         .row_padding = std::min(augmentation.crop_padding, store.image_shape()[0] - 1),
                         .column_padding = std::min(augmentation.crop_padding, store.image_shape()[1] - 1),
                         .flip = augmentation.flip,
                         .random = Random(seed, stream_of("augment", number))});
  shuffle(ahead_->order, Random(seed, stream_of("order", number)));
  ahead_->thread = std::jthread([ahead = ahead_.get()](const std::stop_token& stop) { ahead->fill(stop); });
}

TrainingEpoch::~TrainingEpoch() = default;

std::int64_t TrainingEpoch::batches() const { return ahead_->batches; }

Batch TrainingEpoch::next() {
  if (ahead_->taken == ahead_->batches) throw std::logic_error("[loader] the epoch has no more batches");
  Draws drawn;
  {
    std::unique_lock lock(ahead_->mutex);
    ahead_->changed.wait(lock, [this] { return !ahead_->ready.empty(); });
    drawn = std::move(ahead_->ready.front());
    ahead_->ready.pop_front();
  }
  ahead_->changed.notify_all();
  ++ahead_->taken;
  return ahead_->store.batch(drawn.draws, drawn.labels);
}

}  // namespace stagewise
