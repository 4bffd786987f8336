// Images small enough to train on in milliseconds, as a run has them.
#pragma once

#include "datasets/dataset.h"
#include "search/training/run_data.h"
#include "tensor/random.h"

namespace stagewise {

/// Every fourth pixel of every fourth row: 32x32 becomes 8x8.
inline Images small_images(const Images& of) {
  Images small{.height = of.height / 4, .width = of.width / 4, .channels = of.channels, .labels = of.labels};
  for (std::int64_t i = 0; i < of.count(); ++i) {
    for (std::int64_t h = 0; h < of.height; h += 4) {
      for (std::int64_t w = 0; w < of.width; w += 4) {
        const auto pixel = of.pixels.begin() + ((i * of.height + h) * of.width + w) * of.channels;
        small.pixels.insert(small.pixels.end(), pixel, pixel + of.channels);
      }
    }
  }
  return small;
}

/// A data set as a run has it, every fifth image held out.
inline RunData run_data(Backend& backend, const Dataset& dataset, DType maps = DType::float32) {
  const Images& train = dataset.train;
  const Normalisation normalisation = channel_normalisation(train);
  RunData data{.source = "small",
               .description = "small",
               .classes = dataset.classes,
               .height = train.height,
               .width = train.width,
               .channels = train.channels,
               .normalisation = normalisation,
               .images = ImageStore(backend, train, std::ssize(dataset.classes), normalisation, maps),
               .train = {},
               .validation = {},
               .load_test = dataset.load_test,
               .fingerprint = fingerprint_of(dataset)};
  for (std::int32_t i = 0; i < train.count(); ++i) (i % 5 == 0 ? data.validation : data.train).push_back(i);
  return data;
}

/// The synthetic images at a quarter of their size: 8x8.
inline RunData small_data(Backend& backend, std::int64_t train, std::int64_t test, DType maps = DType::float32) {
  Dataset dataset = open_dataset("synthetic", {.synthetic_train = train, .synthetic_test = test});
  dataset.train = small_images(dataset.train);
  dataset.load_test = [load = dataset.load_test] { return small_images(load()); };
  return run_data(backend, dataset, maps);
}

/// Three classes, told by which channel is brightest: nothing that a shallow network couldn't see. Of `wrong` of the
/// images the label is drawn anew.
inline Images coloured_images(std::int64_t count, double wrong, std::uint64_t seed) {
  const Random random(seed, stream_of("coloured images"));
  Images images{.height = 8, .width = 8};
  std::uint64_t draw = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto colour = static_cast<std::int32_t>(random.below(draw++, 3));
    for (int pixel = 0; pixel < 64; ++pixel) {
      for (int channel = 0; channel < 3; ++channel) {
        const double grey = 110.0 + (channel == colour ? 20.0 : 0.0) + 60.0 * (random.uniform(draw++) - 0.5);
        images.pixels.push_back(static_cast<std::uint8_t>(grey));
      }
    }
    const bool is_wrong = random.uniform(draw++) < wrong;
    images.labels.push_back(is_wrong ? static_cast<std::int32_t>(random.below(draw++, 3)) : colour);
  }
  return images;
}

inline RunData coloured_data(Backend& backend, std::int64_t train, double wrong, std::uint64_t seed = 1) {
  const Dataset dataset{.description = "coloured",
                        .classes = {"blue", "green", "red"},
                        .train = coloured_images(train, wrong, seed),
                        .load_test = [=] { return coloured_images(50, wrong, seed + 1); }};
  return run_data(backend, dataset);
}

}  // namespace stagewise
