#include "datasets/loader.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "datasets/shuffle.h"
#include "tensor/draws.h"
#include "tensor/enum_names.h"

namespace stagewise {

std::string name_of(Flip flip) {
  switch (flip) {
    case Flip::none: return "none";
    case Flip::random: return "random";
    case Flip::alternating: return "alternating";
  }
  return "?";
}

Flip flip_from(const std::string& name) {
  return enum_from_name("flip", name, {Flip::none, Flip::random, Flip::alternating});
}

ImageStore::ImageStore(Backend& backend, const Images& images, std::int64_t classes, const Normalisation& normalisation,
                       DType feature_maps)
    : backend_(&backend),
      feature_maps_(feature_maps),
      classes_(classes),
      labels_(images.labels),
      image_shape_{images.height, images.width, images.channels},
      source_(images.source) {
  const Shape shape{images.count(), images.height, images.width, images.channels};
  require(images.count() > 0 && images.image_bytes() > 0, "[loader] there are no images: their shape is ", shape);
  require(images.count() <= std::numeric_limits<std::int32_t>::max(), "[loader] expected fewer than 2^31 images, got ",
          images.count());
  const auto fits = [](std::size_t size, std::int64_t expected) { return static_cast<std::int64_t>(size) == expected; };
  require(source_ != nullptr || fits(images.pixels.size(), shape.count()), "[loader] expected ", shape.count(),
          " bytes of pixels for shape ", shape, ", got ", images.pixels.size());
  require(fits(normalisation.scale.size(), images.channels) && fits(normalisation.offset.size(), images.image_bytes()),
          "[loader] expected a normalisation of ", images.channels, " scales and ", images.image_bytes(),
          " offsets for images ", shape, ", got ", normalisation.scale.size(), " and ", normalisation.offset.size());
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    require(labels_[i] >= 0 && labels_[i] < classes, "[loader] expected labels from 0 to ", classes - 1, ", got ",
            labels_[i], " for image ", i);
  }
  if (source_ == nullptr) images_ = Tensor::from_host(backend, shape, images.pixels);
  scale_ = Tensor::from_host(backend, {images.channels}, normalisation.scale);
  offset_ = Tensor::from_host(backend, {images.height, images.width, images.channels}, normalisation.offset);
}

void ImageStore::check(std::span<const std::int32_t> indices) const {
  for (const std::int32_t index : indices) {
    require(index >= 0 && index < count(), "[loader] expected indices from 0 to ", count() - 1, ", got ", index);
  }
}

Batch ImageStore::batch(std::span<const std::int32_t> indices, DrawAugmentation draws) const {
  check(indices);
  if (source_ == nullptr) return batch(indices, std::move(draws), nullptr);
  ReadAhead ahead(source_, {indices.begin(), indices.end()});
  return batch(indices, std::move(draws), &ahead);
}

Batch ImageStore::batch(std::span<const std::int32_t> indices, DrawAugmentation draws, ReadAhead* ahead) const {
  const std::int64_t height = image_shape_[0], width = image_shape_[1], channels = image_shape_[2];
  require(!indices.empty(), "[loader] expected a batch of at least one image");
  require(
      draws.row_padding >= 0 && draws.row_padding < height && draws.column_padding >= 0 && draws.column_padding < width,
      "[loader] expected a crop padding smaller than images ", image_shape_, ", got ", draws.row_padding, " rows and ",
      draws.column_padding, " columns");
  require(draws.cutout >= 0, "[loader] expected a cutout of at least 0 pixels a side, got ", draws.cutout);
  std::vector<std::int32_t> labels;
  for (const std::int32_t index : indices) labels.push_back(labels_[static_cast<std::size_t>(index)]);
  const auto size = static_cast<std::int64_t>(indices.size());
  Batch batch{.x = Tensor(*backend_, {size, height, width, channels}, feature_maps_),
              .labels = Tensor::from_host(*backend_, {size}, labels)};
  draws.indices = Tensor::from_host(*backend_, {size}, indices);
  draws.draws = Tensor(*backend_, {size, 6}, DType::int32);
  draws.height = height;
  draws.width = width;
  // One of twice the image's side covers all of it, wherever its centre is.
  draws.cutout = std::min(draws.cutout, 2 * std::max(height, width));
  Tensor images = images_;
  if (ahead == nullptr) {
    backend_->draw_augmentation(draws);
  } else {
    images = read(*ahead, size);
    std::vector<std::int32_t> drawn(static_cast<std::size_t>(6 * size));
    draw_on_host(draws, indices.data(), drawn.data());
    for (std::int64_t i = 0; i < size; ++i) drawn[static_cast<std::size_t>(6 * i)] = static_cast<std::int32_t>(i);
    backend_->copy_from_host(drawn.data(), draws.draws);
  }
  backend_->augment({.images = images,
                     .draws = draws.draws,
                     .scale = scale_,
                     .offset = offset_,
                     .x = batch.x,
                     .cutout = draws.cutout});
  return batch;
}

Tensor ImageStore::read(ReadAhead& ahead, std::int64_t count) const {
  const std::int64_t image_bytes = image_shape_.count();
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(count * image_bytes));
  for (std::int64_t i = 0; i < count; ++i) ahead.next(pixels.data() + i * image_bytes);
  return Tensor::from_host(*backend_, {count, image_shape_[0], image_shape_[1], image_shape_[2]}, pixels);
}

BatchReader::BatchReader(const ImageStore& store, std::span<const std::int32_t> order)
    : store_(&store), order_(order.begin(), order.end()) {
  store.check(order);
  if (store.source_ != nullptr) ahead_ = std::make_unique<ReadAhead>(store.source_, order_);
}

Batch BatchReader::next(std::int64_t count, const DrawAugmentation& draws) {
  const auto size = static_cast<std::size_t>(count);
  require(count >= 1 && size <= order_.size() - taken_, "[loader] expected 1 to ", order_.size() - taken_,
          " images more, got ", count);
  const std::span indices = std::span(order_).subspan(taken_, size);
  taken_ += size;
  return store_->batch(indices, draws, ahead_.get());
}

TrainingEpoch::TrainingEpoch(const ImageStore& store, std::span<const std::int32_t> indices, std::int64_t batch_size,
                             const Augmentation& augmentation, std::uint64_t seed, std::int64_t epoch)
    : store_(&store), order_(indices.begin(), indices.end()), batch_size_(batch_size) {
  require(batch_size >= 1, "[loader] expected a batch size of at least 1, got ", batch_size);
  require(augmentation.crop_padding >= 0, "[loader] expected a crop padding of at least 0, got ",
          augmentation.crop_padding);
  require(augmentation.cutout >= 0, "[loader] expected a cutout of at least 0 pixels a side, got ",
          augmentation.cutout);
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
            .flip = augmentation.flip,
            .flip_stream = stream_of("alternating flip"),
            .odd_epoch = epoch % 2 != 0,
            .cutout = augmentation.cutout,
            .cutout_stream = stream_of("cutout", number)};
}

void TrainingEpoch::skip_to(std::int64_t batch) {
  require(batch >= 0 && batch <= batches_, "[loader] expected a batch from 0 to ", batches_, ", got ", batch);
  taken_ = batch;
  reader_.reset();
}

std::int64_t TrainingEpoch::next_size() const {
  if (taken_ == batches_) return 0;
  return std::min(batch_size_, static_cast<std::int64_t>(order_.size()) - batch_size_ * taken_);
}

Batch TrainingEpoch::next() {
  if (taken_ == batches_) throw std::logic_error("[loader] the epoch has no more batches");
  const std::int64_t size = next_size();
  draws_.first_place = batch_size_ * taken_++;
  if (!reader_) reader_.emplace(*store_, std::span(order_).subspan(static_cast<std::size_t>(draws_.first_place)));
  return reader_->next(size, draws_);
}

}  // namespace stagewise
