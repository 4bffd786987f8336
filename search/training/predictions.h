// What a network said of every single image, kept beside a run, so that two runs can be compared image by image.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "layers/inference.h"
#include "search/training/trainer.h"

namespace stagewise {

/// An entry an image, in the order of the images: all are of the same length.
struct Predictions {
  std::vector<std::int32_t> labels, predicted;
  std::vector<float> label_probability;  // softmax of the logits at the label
  std::vector<float> loss;               // cross entropy without smoothing: -log of that probability, in nats
  std::vector<float> confidence;  // softmax at what was predicted; empty from a file that an earlier version wrote

  std::int64_t images() const { return static_cast<std::int64_t>(labels.size()); }
  bool is_right(std::size_t image) const { return labels[image] == predicted[image]; }
  /// Right answers, and the mean loss; no seconds.
  PassResult result() const;
};

/// What `network` says of the images at `indices`, as they are. Of equal logits the first counts, as in evaluate().
Predictions predict_all(const InferenceNetwork& network, const ImageStore& images,
                        std::span<const std::int32_t> indices, const PassCallback& callback = {});

/// A CSV file, whole or not there: `image,label,predicted,probability,loss,confidence`, with an image a line, numbered
/// from 0, and the floats in the digits that bring them back bit for bit. Without confidences, without that column.
void write_predictions(const std::string& path, const Predictions& predictions);

/// Errors: throws Error, naming the file and the line, for anything but what write_predictions() writes, or wrote before
/// there was a `confidence`.
Predictions read_predictions(const std::string& path);

}  // namespace stagewise
