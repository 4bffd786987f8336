#include <cmath>

#include "datasets/image_source.h"
#include "datasets/loader.h"
#include "tensor/error.h"

namespace stagewise {
namespace {

/// Over the images at `indices`, or over all without any.
ImageTotals totals_of(const Images& images, std::span<const std::int32_t> indices, const ProgressCallback& progress) {
  require(images.count() > 0 && images.image_bytes() > 0, "[normalisation] there are no images to average over");
  require(images.source != nullptr || std::ssize(images.pixels) == images.count() * images.image_bytes(),
          "[normalisation] expected ", images.count() * images.image_bytes(), " bytes of pixels, got ",
          images.pixels.size());
  ImageTotals totals(images.height * images.width, images.channels);
  const auto add = [&totals](const std::uint8_t* image) { totals.add(image); };
  if (images.source == nullptr || !images.source->scanned()) {
    for_each_image(images, indices, add, progress);
    return totals;
  }
  const ImageTotals& all = images.source->scanned()->totals;
  if (indices.empty()) return all;
  // The others are fewer to decode, where most are trained on: what is left without them is what was asked for.
  std::vector<bool> asked_for(static_cast<std::size_t>(images.count()));
  for (const std::int32_t index : indices) asked_for.at(static_cast<std::size_t>(index)) = true;
  std::vector<std::int32_t> others;
  for (std::int64_t i = 0; i < images.count(); ++i) {
    if (!asked_for[static_cast<std::size_t>(i)]) others.push_back(static_cast<std::int32_t>(i));
  }
  const bool each_once = std::ssize(indices) + std::ssize(others) == images.count();
  if (!each_once || indices.size() <= others.size()) {
    for_each_image(images, indices, add, progress);
    return totals;
  }
  if (!others.empty()) for_each_image(images, others, add, progress);
  ImageTotals rest = all;
  rest.subtract(totals);
  return rest;
}

}  // namespace

Normalisation channel_normalisation(const Images& images, std::span<const std::int32_t> indices,
                                    const ProgressCallback& progress) {
  const auto channels = static_cast<std::size_t>(images.channels);
  const auto pixels = static_cast<std::size_t>(images.height * images.width);
  const ImageTotals totals = totals_of(images, indices, progress);
  const auto& histogram = totals.histograms;

  Normalisation normalisation{std::vector<float>(channels), std::vector<float>(pixels * channels)};
  const auto total = static_cast<double>(totals.images * images.height * images.width);
  for (std::size_t c = 0; c < channels; ++c) {
    double mean = 0.0, variance = 0.0;
    for (int v = 0; v < 256; ++v) mean += v * static_cast<double>(histogram[c][v]) / total;
    for (int v = 0; v < 256; ++v) variance += (v - mean) * (v - mean) * static_cast<double>(histogram[c][v]) / total;
    // A channel of one value has a variance of rounding errors, far below the least one that bytes can have.
    const double deviation = variance > 1e-12 ? std::sqrt(variance) : 1.0;
    normalisation.scale[c] = static_cast<float>(1.0 / deviation);
    for (std::size_t p = 0; p < pixels; ++p) {
      normalisation.offset[p * channels + c] = static_cast<float>(mean / deviation);
    }
  }
  return normalisation;
}

Normalisation mean_image_normalisation(const Images& images, std::span<const std::int32_t> indices,
                                       const ProgressCallback& progress) {
  const ImageTotals totals = totals_of(images, indices, progress);
  Normalisation normalisation{std::vector<float>(static_cast<std::size_t>(images.channels), 1.0F / 255.0F), {}};
  for (const std::int64_t sum : totals.sums) {
    const double mean = static_cast<double>(sum) / static_cast<double>(totals.images);
    normalisation.offset.push_back(static_cast<float>(mean / 255.0));
  }
  return normalisation;
}

}  // namespace stagewise
