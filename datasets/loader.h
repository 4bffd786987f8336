// From images in bytes to batches on a device. The images lie on the device, which draws each one's crop and flip and
// applies them; the host says which images are next.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "datasets/dataset.h"
#include "tensor/backend.h"

namespace stagewise {

/// x = pixel * scale[c] - offset[h,w,c].
struct Normalisation {
  std::vector<float> scale;   // [C]
  std::vector<float> offset;  // [H,W,C]
};

/// To mean 0 and deviation 1 in each channel over the images at `indices`, or over all without any (a channel without
/// deviation is only centred). Errors: throws Error for no images, or an index that they lack.
Normalisation channel_normalisation(const Images& images, std::span<const std::int32_t> indices = {});
/// pixel / 255 minus the mean image (the paper's), of the same images and with the same errors.
Normalisation mean_image_normalisation(const Images& images, std::span<const std::int32_t> indices = {});

/// A batch on the device.
struct Batch {
  Tensor x;       // [B,H,W,C], of the store's type
  Tensor labels;  // int32 [B]
  std::int64_t count() const { return labels.count(); }
};

struct Augmentation {
  std::int64_t crop_padding = 4;  // shifts of up to this many pixels each way, the edges reflected
  bool flip = true;               // left-right, with probability 1/2
};

/// Images on a device, with their normalisation.
class ImageStore {
 public:
  /// Errors: throws Error when the normalisation doesn't fit the images' sizes, there are no images, or one's label
  /// isn't from 0 to classes - 1: no op looks at the range of labels again.
  ImageStore(Backend& backend, const Images& images, std::int64_t classes, const Normalisation& normalisation,
             DType feature_maps = DType::float32);

  /// The images at `indices`, cropped and flipped as `draws` says, whose tensors are filled in here: by default as they
  /// are. Errors: throws Error for no indices, one that the store lacks, or a padding that isn't smaller than the
  /// image.
  Batch batch(std::span<const std::int32_t> indices, DrawAugmentation draws = {}) const;
  /// Errors: throws Error for an index that the store lacks.
  void check(std::span<const std::int32_t> indices) const;
  const std::vector<std::int32_t>& labels() const { return labels_; }
  std::int64_t count() const { return static_cast<std::int64_t>(labels_.size()); }
  std::int64_t classes() const { return classes_; }
  /// The type of the batches.
  DType feature_maps() const { return feature_maps_; }
  /// [H,W,C].
  Shape image_shape() const { return {images_.shape()[1], images_.shape()[2], images_.shape()[3]}; }

 private:
  Backend* backend_;
  DType feature_maps_;
  std::int64_t classes_;
  std::vector<std::int32_t> labels_;
  Tensor images_, scale_, offset_;
};

/// One epoch of training batches: every index once, in an order drawn from (seed, epoch), each image cropped and
/// flipped by draws that depend only on (seed, epoch, its place in the order). The last batch may be short; one of a
/// single image (which batch norm can't use) is left out unless it is the only one. The store must outlive it.
class TrainingEpoch {
 public:
  /// Errors: throws Error for no indices, one that the store lacks, a batch size below 1 or a negative crop padding.
  TrainingEpoch(const ImageStore& store, std::span<const std::int32_t> indices, std::int64_t batch_size,
                const Augmentation& augmentation, std::uint64_t seed, std::int64_t epoch);

  std::int64_t batches() const { return batches_; }
  /// Errors: throws std::logic_error past the last batch.
  Batch next();

 private:
  const ImageStore* store_;
  std::vector<std::int32_t> order_;
  std::int64_t batch_size_, batches_, taken_ = 0;
  DrawAugmentation draws_;
};

}  // namespace stagewise
