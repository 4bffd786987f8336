// From images in bytes to batches on a device. The images and their labels lie on the device, which draws each one's crop,
// flip and cutout and applies them; the host says once, for all batches of a pass, in which order they come. Images that
// are too many for memory are decoded ahead, and go to the device batch by batch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "datasets/image_source.h"
#include "tensor/backend.h"

namespace stagewise {

/// x = pixel * scale[c] - offset[h,w,c].
struct Normalisation {
  std::vector<float> scale;   // [C]
  std::vector<float> offset;  // [H,W,C]
};

/// To mean 0 and deviation 1 in each channel over the images at `indices`, or over all without any (a channel without
/// deviation is only centred). `progress` is told of images that have to be decoded for it. Errors: throws Error for no
/// images, or an index that they lack.
Normalisation channel_normalisation(const Images& images, std::span<const std::int32_t> indices = {},
                                    const ProgressCallback& progress = {});
/// pixel / 255 minus the mean image (the paper's), of the same images and with the same errors.
Normalisation mean_image_normalisation(const Images& images, std::span<const std::int32_t> indices = {},
                                       const ProgressCallback& progress = {});

/// A batch on the device.
struct Batch {
  Tensor x;       // [B,H,W,C], of the store's type
  Tensor labels;  // int32 [B]
  std::int64_t count() const { return labels.count(); }
};

/// `none`, `random` or `alternating` (tensor/backend.h). Errors: flip_from throws Error for any other name.
std::string name_of(Flip flip);
Flip flip_from(const std::string& name);

struct Augmentation {
  std::int64_t crop_padding = 4;  // shifts of up to this many pixels each way, the edges reflected
  Flip flip = Flip::random;       // left-right
  std::int64_t cutout = 0;        // side of a square that is set to the mean colour, somewhere in each image; 0: none
};

/// Images on a device, or on the way there, with their normalisation.
class ImageStore {
 public:
  /// Errors: throws Error when the normalisation doesn't fit the images' sizes, there are no images, or one's label
  /// isn't from 0 to classes - 1: no op looks at the range of labels again.
  ImageStore(Backend& backend, const Images& images, std::int64_t classes, const Normalisation& normalisation,
             DType feature_maps = DType::float32);

  /// The images at `indices`, cropped, flipped and cut out as `draws` says, whose tensors and sizes are filled in here:
  /// by default as they are. Errors: throws Error for no indices, one that the store lacks, a padding that isn't
  /// smaller than the image, a negative cutout, or an image that can't be decoded any more.
  Batch batch(std::span<const std::int32_t> indices, DrawAugmentation draws = {}) const;
  /// Errors: throws Error for an index that the store lacks.
  void check(std::span<const std::int32_t> indices) const;
  const std::vector<std::int32_t>& labels() const { return labels_; }
  std::int64_t count() const { return static_cast<std::int64_t>(labels_.size()); }
  std::int64_t classes() const { return classes_; }
  /// The type of the batches.
  DType feature_maps() const { return feature_maps_; }
  /// [H,W,C].
  const Shape& image_shape() const { return image_shape_; }

 private:
  friend class BatchReader;
  /// The next images of `ahead`, on the device.
  Tensor read(ReadAhead& ahead, std::int64_t count) const;

  Backend* backend_;
  DType feature_maps_;
  std::int64_t classes_;
  std::vector<std::int32_t> labels_;
  Shape image_shape_;
  std::shared_ptr<ImageSource> source_;  // or none: all are in images_
  Tensor images_, labels_of_images_;     // on the device, without a source
  Tensor scale_, offset_;
};

/// A store's images, batch by batch, in an order that is known: what is in memory is drawn at once, for all batches, and
/// what isn't is decoded ahead. The store must outlive it.
class BatchReader {
 public:
  /// `draws` as ImageStore::batch's, for the first image of `order` and those that follow. Errors: as
  /// ImageStore::batch's, but for images that can't be decoded.
  BatchReader(const ImageStore& store, std::span<const std::int32_t> order, DrawAugmentation draws = {});
  /// The next `count` images; as many must be left. Where `into` is a batch of so many, it is overwritten and returned.
  /// Errors: throws Error for an image that can't be decoded any more; then this reader is done.
  Batch next(std::int64_t count, const Batch& into = {});

 private:
  /// What makes the next `batch`, but for what is always the same.
  Augment from_memory(const Batch& batch) const;
  Augment from_files(const Batch& batch);

  const ImageStore* store_;
  std::vector<std::int32_t> order_;
  DrawAugmentation draws_;
  std::int64_t taken_ = 0;
  std::unique_ptr<ReadAhead> ahead_;  // or none: all are in memory
};

/// One epoch of training batches: every index once, in an order drawn from (seed, epoch), each image cropped,
/// flipped and cut out by draws that depend only on (seed, epoch, its place in the order); alternating flips on (seed,
/// epoch, its index). The last batch may be short; one of a single image (which batch norm can't use) is left out
/// unless it is the only one. The store must outlive it.
class TrainingEpoch {
 public:
  /// Errors: throws Error for no indices, one that the store lacks, a batch size below 1, a negative crop padding or a
  /// negative cutout.
  TrainingEpoch(const ImageStore& store, std::span<const std::int32_t> indices, std::int64_t batch_size,
                const Augmentation& augmentation, std::uint64_t seed, std::int64_t epoch);

  std::int64_t batches() const { return batches_; }
  /// Goes on from batch `batch`, as if those before it had been taken. Errors: throws Error beyond the last batch.
  void skip_to(std::int64_t batch);
  /// How many images the next batch has; 0 past the last one.
  std::int64_t next_size() const;
  /// The next batch, in the place of `into` where that is one of its size. Errors: throws std::logic_error past the last
  /// batch; Error for an image that can't be decoded any more.
  Batch next(const Batch& into = {});

 private:
  const ImageStore* store_;
  std::vector<std::int32_t> order_;
  std::int64_t batch_size_, batches_, taken_ = 0;
  DrawAugmentation draws_;
  std::optional<BatchReader> reader_;  // from where batches are being taken on
};

}  // namespace stagewise
