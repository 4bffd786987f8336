#include "datasets/loader.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "datasets/shuffle.h"
#include "tensor/error.h"

namespace stagewise {

ImageStore::ImageStore(Backend& backend, const Images& images, std::int64_t classes, const Normalisation& normalisation,
                       DType feature_maps)
    : backend_(&backend), feature_maps_(feature_maps), classes_(classes), labels_(images.labels) {
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
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    require(labels_[i] >= 0 && labels_[i] < classes, "[loader] expected labels from 0 to ", classes - 1, ", got ",
            labels_[i], " for image ", i);
  }
  images_ = Tensor::from_host(backend, shape, images.pixels);
  scale_ = Tensor::from_host(backend, {images.channels}, normalisation.scale);
  offset_ = Tensor::from_host(backend, {images.height, images.width, images.channels}, normalisation.offset);
}

void ImageStore::check(std::span<const std::int32_t> indices) const {
  for (const std::int32_t index : indices) {
    require(index >= 0 && index < count(), "[loader] expected indices from 0 to ", count() - 1, ", got ", index);
  }
}

Batch ImageStore::batch(std::span<const std::int32_t> indices, DrawAugmentation draws) const {
  const Shape& images = images_.shape();
  require(!indices.empty(), "[loader] expected a batch of at least one image");
  check(indices);
  require(draws.row_padding >= 0 && draws.row_padding < images[1] && draws.column_padding >= 0 &&
              draws.column_padding < images[2],
          "[loader] expected a crop padding smaller than images ", images, ", got ", draws.row_padding, " rows and ",
          draws.column_padding, " columns");
  std::vector<std::int32_t> labels;
  for (const std::int32_t index : indices) labels.push_back(labels_[static_cast<std::size_t>(index)]);
  const auto size = static_cast<std::int64_t>(indices.size());
  Batch batch{.x = Tensor(*backend_, {size, images[1], images[2], images[3]}, feature_maps_),
              .labels = Tensor::from_host(*backend_, {size}, labels)};
  draws.indices = Tensor::from_host(*backend_, {size}, indices);
  draws.draws = Tensor(*backend_, {size, 4}, DType::int32);
  backend_->draw_augmentation(draws);
  backend_->augment({.images = images_, .draws = draws.draws, .scale = scale_, .offset = offset_, .x = batch.x});
  return batch;
}

TrainingEpoch::TrainingEpoch(const ImageStore& store, std::span<const std::int32_t> indices, std::int64_t batch_size,
                             const Augmentation& augmentation, std::uint64_t seed, std::int64_t epoch)
    : store_(&store), order_(indices.begin(), indices.end()), batch_size_(batch_size) {
  require(batch_size >= 1, "[loader] expected a batch size of at least 1, got ", batch_size);
  require(augmentation.crop_padding >= 0, "[loader] expected a crop padding of at least 0, got ",
          augmentation.crop_padding);
  require(!indices.empty(), "[loader] there are no images to train on");
  store.check(indices);
  const auto count = static_cast<std::int64_t>(indices.size());
  const bool leave_one_out = count > 1 && batch_size > 1 && count % batch_size == 1;
  batches_ = count / batch_size + (count % batch_size != 0 && !leave_one_out ? 1 : 0);
  const auto number = static_cast<std::uint64_t>(epoch);
  shuffle(order_, Random(seed, stream_of("order", number)));
  draws_ = {.seed = seed,
            .stream = stream_of("augment", number),
            .row_padding = std::min(augmentation.crop_padding, store.image_shape()[0] - 1),
            .column_padding = std::min(augmentation.crop_padding, store.image_shape()[1] - 1),
            .flip = augmentation.flip};
}

Batch TrainingEpoch::next() {
  if (taken_ == batches_) throw std::logic_error("[loader] the epoch has no more batches");
  draws_.first_place = batch_size_ * taken_++;
  const auto first = static_cast<std::size_t>(draws_.first_place);
  const std::size_t size = std::min(static_cast<std::size_t>(batch_size_), order_.size() - first);
  return store_->batch(std::span(order_).subspan(first, size), draws_);
}

}  // namespace stagewise
