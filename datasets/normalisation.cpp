#include <array>
#include <cmath>

#include "datasets/loader.h"
#include "tensor/error.h"

namespace stagewise {
namespace {

void require_images(const Images& images) {
  require(images.count() > 0 && images.image_bytes() > 0, "[normalisation] there are no images to average over");
  require(static_cast<std::int64_t>(images.pixels.size()) == images.count() * images.image_bytes(),
          "[normalisation] expected ", images.count() * images.image_bytes(), " bytes of pixels, got ",
          images.pixels.size());
}

/// Calls use(pixels of an image) for the images at `indices`, or for all without any; returns how many there were.
template <class Use>
std::int64_t for_each_image(const Images& images, std::span<const std::int32_t> indices, const Use& use) {
  require_images(images);
  const std::int64_t count = indices.empty() ? images.count() : static_cast<std::int64_t>(indices.size());
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t index = indices.empty() ? i : indices[static_cast<std::size_t>(i)];
    require(index >= 0 && index < images.count(), "[normalisation] expected indices from 0 to ", images.count() - 1,
            ", got ", index);
    use(images.pixels.data() + index * images.image_bytes());
  }
  return count;
}

}  // namespace

Normalisation channel_normalisation(const Images& images, std::span<const std::int32_t> indices) {
  const auto channels = static_cast<std::size_t>(images.channels);
  const auto pixels = static_cast<std::size_t>(images.height * images.width);
  // How often each channel has each of the 256 values: the moments that follow from it carry no rounding of sums.
  std::vector<std::array<std::int64_t, 256>> histogram(channels);
  const std::int64_t count = for_each_image(images, indices, [&](const std::uint8_t* image) {
    for (std::size_t i = 0; i < pixels * channels; i += channels) {
      for (std::size_t c = 0; c < channels; ++c) ++histogram[c][image[i + c]];
    }
  });

  Normalisation normalisation{std::vector<float>(channels), std::vector<float>(pixels * channels)};
  const auto total = static_cast<double>(count * images.height * images.width);
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

Normalisation mean_image_normalisation(const Images& images, std::span<const std::int32_t> indices) {
  const auto size = static_cast<std::size_t>(images.image_bytes());
  std::vector<std::int64_t> sums(size);
  const std::int64_t count = for_each_image(images, indices, [&](const std::uint8_t* image) {
    for (std::size_t i = 0; i < size; ++i) sums[i] += image[i];
  });
  Normalisation normalisation{std::vector<float>(static_cast<std::size_t>(images.channels), 1.0F / 255.0F), {}};
  for (const std::int64_t sum : sums) {
    const double mean = static_cast<double>(sum) / static_cast<double>(count);
    normalisation.offset.push_back(static_cast<float>(mean / 255.0));
  }
  return normalisation;
}

}  // namespace stagewise
