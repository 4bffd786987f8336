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
  if (source_ == nullptr) {
    images_ = Tensor::from_host(backend, shape, images.pixels);
    labels_of_images_ = Tensor::from_host(backend, {images.count()}, labels_);
  }
  scale_ = Tensor::from_host(backend, {images.channels}, normalisation.scale);
  offset_ = Tensor::from_host(backend, {images.height, images.width, images.channels}, normalisation.offset);
}

void ImageStore::check(std::span<const std::int32_t> indices) const {
  for (const std::int32_t index : indices) {
    require(index >= 0 && index < count(), "[loader] expected indices from 0 to ", count() - 1, ", got ", index);
  }
}

Batch ImageStore::batch(std::span<const std::int32_t> indices, DrawAugmentation draws) const {
  require(!indices.empty(), "[loader] expected a batch of at least one image");
  return BatchReader(*this, indices, std::move(draws)).next(std::ssize(indices));
}

Tensor ImageStore::read(ReadAhead& ahead, std::int64_t count) const {
  const std::int64_t image_bytes = image_shape_.count();
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(count * image_bytes));
  for (std::int64_t i = 0; i < count; ++i) ahead.next(pixels.data() + i * image_bytes);
  return Tensor::from_host(*backend_, {count, image_shape_[0], image_shape_[1], image_shape_[2]}, pixels);
}

BatchReader::BatchReader(const ImageStore& store, std::span<const std::int32_t> order, DrawAugmentation draws)
    : store_(&store), order_(order.begin(), order.end()), draws_(std::move(draws)) {
  const std::int64_t height = store.image_shape_[0], width = store.image_shape_[1];
  store.check(order);
  require(draws_.row_padding >= 0 && draws_.row_padding < height && draws_.column_padding >= 0 &&
              draws_.column_padding < width,
          "[loader] expected a crop padding smaller than images ", store.image_shape_, ", got ", draws_.row_padding,
          " rows and ", draws_.column_padding, " columns");
  require(draws_.cutout >= 0, "[loader] expected a cutout of at least 0 pixels a side, got ", draws_.cutout);
  draws_.height = height;
  draws_.width = width;
  // One of twice the image's side covers all of it, wherever its centre is.
  draws_.cutout = std::min(draws_.cutout, 2 * std::max(height, width));
  if (store.source_ != nullptr) {
    ahead_ = std::make_unique<ReadAhead>(store.source_, order_);
    return;
  }
  const std::int64_t count = std::ssize(order_);
  draws_.indices = Tensor::from_host(*store.backend_, {count}, order_);
  draws_.draws = Tensor(*store.backend_, {count, 6}, DType::int32);
  store.backend_->draw_augmentation(draws_);
  draws_.indices = {};
}

Augment BatchReader::from_memory(const Batch& batch) const {
  return {.images = store_->images_,
          .draws = draws_.draws,
          .first = taken_,
          .image_labels = store_->labels_of_images_,
          .labels = batch.labels};
}

/// The pixels, the labels and the draws go to the device; the images are numbered as in the batch.
Augment BatchReader::from_files(const Batch& batch) {
  const std::int64_t count = batch.count();
  const auto indices = std::span(order_).subspan(static_cast<std::size_t>(taken_), static_cast<std::size_t>(count));
  const Tensor images = store_->read(*ahead_, count);
  DrawAugmentation draws = draws_;
  draws.first_place += taken_;
  std::vector<std::int32_t> labels, drawn(static_cast<std::size_t>(6 * count));
  draw_on_host(draws, indices, drawn.data());
  for (std::int64_t i = 0; i < count; ++i) drawn[static_cast<std::size_t>(6 * i)] = static_cast<std::int32_t>(i);
  for (const std::int32_t index : indices) labels.push_back(store_->labels_[static_cast<std::size_t>(index)]);
  store_->backend_->copy_from_host(labels.data(), batch.labels);
  return {.images = images, .draws = Tensor::from_host(*store_->backend_, {count, 6}, drawn)};
}

Batch BatchReader::next(std::int64_t count, const Batch& into) {
  const std::int64_t left = std::ssize(order_) - taken_;
  require(count >= 1 && count <= left, "[loader] expected 1 to ", left, " images more, got ", count);
  Backend& backend = *store_->backend_;
  const Shape& image = store_->image_shape_;
  Batch batch = into;
  if (!into.labels.defined() || into.count() != count) {
    batch = {.x = Tensor(backend, {count, image[0], image[1], image[2]}, store_->feature_maps_),
             .labels = Tensor(backend, {count}, DType::int32)};
  }
  Augment pass = ahead_ == nullptr ? from_memory(batch) : from_files(batch);
  pass.scale = store_->scale_;
  pass.offset = store_->offset_;
  pass.x = batch.x;
  pass.cutout = draws_.cutout;
  backend.augment(pass);
  taken_ += count;
  return batch;
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

Batch TrainingEpoch::next(const Batch& into) {
  if (taken_ == batches_) throw std::logic_error("[loader] the epoch has no more batches");
  const std::int64_t size = next_size(), first = batch_size_ * taken_++;
  if (!reader_) {
    draws_.first_place = first;
    reader_.emplace(*store_, std::span(order_).subspan(static_cast<std::size_t>(first)), draws_);
  }
  return reader_->next(size, into);
}

}  // namespace stagewise
