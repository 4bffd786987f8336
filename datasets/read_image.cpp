#include <algorithm>
#include <cmath>

#include "datasets/image_files.h"
#include "datasets/picture.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace stagewise {
namespace {

constexpr std::int64_t kChannels = 3;

/// The input pixels that one output pixel is a weighted mean of.
struct Taps {
  std::int64_t first = 0;
  std::vector<float> weights;
};

/// For each of `to` pixels, the triangle filter over `from` pixels: as wide as the larger of the two kinds of pixel.
std::vector<Taps> triangle_filter(std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), reach = std::max(scale, 1.0);
  std::vector<Taps> filter(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale - 0.5;
    const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(std::ceil(centre - reach)), 0);
    const auto last = std::min<std::int64_t>(static_cast<std::int64_t>(std::floor(centre + reach)), from - 1);
    std::vector<double> weights;
    double sum = 0.0;
    for (std::int64_t j = first; j <= last; ++j) {
      weights.push_back(std::max(1.0 - std::abs(static_cast<double>(j) - centre) / reach, 0.0));
      sum += weights.back();
    }
    Taps& taps = filter[static_cast<std::size_t>(i)];
    taps.first = first;
    for (const double weight : weights) taps.weights.push_back(static_cast<float>(weight / sum));
  }
  return filter;
}

/// Resizes the middle axis of `in` [outer,from,inner]: rows of an image with inner = width * channels, columns with
/// inner = channels.
template <class T>
std::vector<float> resize_axis(const T* in, std::int64_t outer, std::int64_t from, std::int64_t to,
                               std::int64_t inner) {
  const std::vector<Taps> filter = triangle_filter(from, to);
  std::vector<float> out(static_cast<std::size_t>(outer * to * inner));
  float* row = out.data();
  for (std::int64_t o = 0; o < outer; ++o) {
    for (const Taps& taps : filter) {
      const T* tap = in + (o * from + taps.first) * inner;
      for (const float weight : taps.weights) {
        for (std::int64_t i = 0; i < inner; ++i) row[i] += weight * static_cast<float>(tap[i]);
        tap += inner;
      }
      row += inner;
    }
  }
  return out;
}

}  // namespace

std::vector<std::uint8_t> resized_image(const std::string& bytes, std::int64_t height, std::int64_t width) {
  const Picture picture = decode_picture(bytes);
  const std::vector<float> narrow = resize_axis(picture.pixels.data(), picture.height, picture.width, width, kChannels);
  const std::vector<float> resized = resize_axis(narrow.data(), 1, picture.height, height, width * kChannels);
  std::vector<std::uint8_t> pixels(resized.size());
  std::transform(resized.begin(), resized.end(), pixels.begin(), [](float value) {
    return static_cast<std::uint8_t>(std::clamp(std::floor(value + 0.5F), 0.0F, 255.0F));
  });
  return pixels;
}

std::vector<std::uint8_t> read_image(const std::string& path, std::int64_t height, std::int64_t width) {
  const std::string file = read_file(path);
  try {
    return resized_image(file, height, width);
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    fail("can't decode ", printable(path), ": ", error.what());
  }
}

}  // namespace stagewise
