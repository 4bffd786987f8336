// The images of a run, on its device, cut into what is trained on and what steers decisions. The test set stays shut.
#pragma once

#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "datasets/fingerprint.h"
#include "datasets/loader.h"
#include "datasets/split.h"
#include "layers/architecture.h"

namespace stagewise {

struct DataOptions {
  std::string data = "synthetic";
  std::int64_t image_size = 32;
  bool read_train = true;  // false: leave the training images unread, for an evaluation
  bool skip_unreadable = false;
  std::int64_t synthetic_train = 8000, synthetic_test = 2000;
  std::int64_t train_images = 0;  // use only so many of the training images, evenly from all classes; 0: all
  double validation = 0.1;        // share of the training images that is held out, unless the data says which are
  std::uint64_t seed = 0;
  int threads = 0;
  std::int64_t cache = std::numeric_limits<std::int64_t>::max();  // as DatasetOptions::cache
};

/// Who is told what is found while data is read; either may be empty.
struct DataListener {
  std::function<void(const std::string& line)> line;
  ProgressCallback counts;
};

struct RunData {
  std::string source;  // as DataOptions::data
  std::string description;
  std::vector<std::string> classes;
  std::int64_t height = 0, width = 0, channels = 0;
  Normalisation normalisation;
  ImageStore images;                            // the training images, all of them
  std::vector<std::int32_t> train, validation;  // indices into them
  std::function<Images()> load_test;
  DataFingerprint fingerprint;  // of all of this but the test set

  /// Whether held-out images are there that may be trained on in the end: not where the data itself keeps them apart.
  bool held_out_may_join() const { return !validation.empty() && fingerprint.held_out == 0; }
  /// A network for these images.
  Architecture architecture(const std::vector<std::int64_t>& depths, Variant variant,
                            const NetworkStyle& style = {}) const;
};

/// Opens the data, and tells what was found and what was passed over. Errors: as datasets/dataset.h's.
Dataset open_announced(const DataOptions& options, const DataListener& listener);

/// How networks of the variant see their images: standard ones by the channels' means and deviations over the images at
/// `indices` (over all without any), the paper's less their mean image.
Normalisation normalisation_of(Variant variant, const Images& images, std::span<const std::int32_t> indices = {},
                               const ProgressCallback& progress = {});

/// Which of the training images are trained on, and which are held out: those that the data itself holds out, or the
/// share that `options` ask for, drawn from their seed. Errors: throws Error when fewer than two are left to train on.
Split split_of(const Dataset& dataset, const DataOptions& options);

/// What a run needs of `dataset`, which was opened with `options`: with the variant's normalisation over what is trained
/// on, for networks with such feature maps. Errors: throws Error for anything wrong with the data.
RunData run_data_of(Backend& backend, const Dataset& dataset, const DataOptions& options, Variant variant,
                    DType feature_maps, const DataListener& listener = {});

/// The same, opened here.
RunData open_run_data(Backend& backend, const DataOptions& options, Variant variant, DType feature_maps,
                      const DataListener& listener = {});

/// Every n-th of `indices`, so that about `count` come out; all of them where there are no more.
std::vector<std::int32_t> evenly(const std::vector<std::int32_t>& indices, std::int64_t count);

/// `count` of the images, evenly from all classes, drawn from `seed`: ascending indices. A smaller draw is part of
/// every larger one. All of them when `count` is 0. Errors: throws Error when there are fewer.
std::vector<std::int32_t> stratified_draw(const std::vector<std::int32_t>& labels, std::int64_t count,
                                          std::uint64_t seed);

}  // namespace stagewise
