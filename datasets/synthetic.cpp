#include "datasets/synthetic.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "tensor/error.h"
#include "tensor/random.h"

namespace stagewise {
namespace {

constexpr std::int64_t kSide = 32, kChannels = 3, kImageBytes = kSide * kSide * kChannels;
constexpr std::int64_t kMaxImages = 1'000'000;
constexpr double kSmallest = 8.0, kLargest = 12.0;  // half the side of a shape, in pixels
constexpr double kContrast = 70.0;                  // the least distance from shape to ground, of at least one channel
constexpr double kNoise = 20.0;                     // added to each byte, uniform in [-kNoise, kNoise]

bool is_odd(double x) { return std::fmod(std::floor(x), 2.0) != 0.0; }

/// A class: its name, and which points of the square [-1,1]^2 belong to the shape; y points down.
struct ShapeClass {
  const char* name;
  bool (*covers)(double x, double y);
};

// All are symmetric in x, for training mirrors its images.
constexpr std::array<ShapeClass, 10> kShapes = {{
    {"disc", [](double x, double y) { return x * x + y * y < 1.0; }},
    {"ring", [](double x, double y) { return x * x + y * y < 1.0 && x * x + y * y > 0.4; }},
    {"square", [](double x, double y) { return std::max(std::abs(x), std::abs(y)) < 0.85; }},
    {"frame", [](double x, double y) { return std::max(std::abs(x), std::abs(y)) > 0.6; }},
    {"triangle", [](double x, double y) { return std::abs(x) < (y + 1.0) / 2.0; }},
    {"plus", [](double x, double y) { return std::min(std::abs(x), std::abs(y)) < 0.25; }},
    {"cross", [](double x, double y) { return std::abs(std::abs(x) - std::abs(y)) < 0.35; }},
    {"rows", [](double, double y) { return !is_odd((y + 1.0) * 2.5); }},
    {"columns", [](double x, double) { return !is_odd((x + 1.0) * 2.5); }},
    {"checkers", [](double x, double y) { return is_odd((x + 1.0) * 2.5) == is_odd((y + 1.0) * 2.5); }},
}};

/// Everything about an image but its noise.
struct Scene {
  std::size_t shape;
  double x, y, size;  // the centre and half the side, in pixels
  std::array<double, kChannels> ground, ink;
};

Scene draw_scene(const Random& random) {
  std::uint64_t index = 0;
  const auto uniform = [&](double low, double high) { return low + (high - low) * random.uniform(index++); };
  Scene scene{};
  scene.shape = static_cast<std::size_t>(random.below(kImageBytes, kShapes.size()));
  scene.size = uniform(kSmallest, kLargest);
  scene.x = uniform(scene.size, kSide - scene.size);
  scene.y = uniform(scene.size, kSide - scene.size);
  for (double& value : scene.ground) value = uniform(0.0, 255.0);
  double contrast = 0.0;
  while (contrast < kContrast) {  // colours until one stands out
    contrast = 0.0;
    for (std::size_t c = 0; c < kChannels; ++c) {
      scene.ink[c] = uniform(0.0, 255.0);
      contrast = std::max(contrast, std::abs(scene.ink[c] - scene.ground[c]));
    }
  }
  return scene;
}

void paint(const Scene& scene, const Random& noise, std::uint8_t* pixels) {
  std::uint64_t index = 0;
  std::uint32_t word = 0;
  for (std::int64_t row = 0; row < kSide; ++row) {
    for (std::int64_t column = 0; column < kSide; ++column) {
      const double x = (static_cast<double>(column) + 0.5 - scene.x) / scene.size;
      const double y = (static_cast<double>(row) + 0.5 - scene.y) / scene.size;
      const bool inside = std::abs(x) < 1.0 && std::abs(y) < 1.0 && kShapes[scene.shape].covers(x, y);
      const auto& colour = inside ? scene.ink : scene.ground;
      for (std::size_t c = 0; c < kChannels; ++c, ++index) {
        word = index % 4 == 0 ? noise.bits(index / 4) : word >> 8;  // a byte of noise each
        const double value = colour[c] + ((word & 0xff) / 127.5 - 1.0) * kNoise;
        *pixels++ = static_cast<std::uint8_t>(std::clamp(std::lround(value), 0L, 255L));
      }
    }
  }
}

Images draw_images(std::int64_t count, std::uint64_t seed, const char* set) {
  Images images{.height = kSide, .width = kSide, .channels = kChannels};
  images.pixels.resize(static_cast<std::size_t>(count * kImageBytes));
  for (std::int64_t i = 0; i < count; ++i) {
    const auto number = static_cast<std::uint64_t>(i);
    const Scene scene = draw_scene(Random(seed, stream_of(set, number)));
    paint(scene, Random(seed, stream_of(set, number, 1)), images.pixels.data() + i * kImageBytes);
    images.labels.push_back(static_cast<std::int32_t>(scene.shape));
  }
  return images;
}

}  // namespace

Dataset synthetic_dataset(const DatasetOptions& options) {
  require(options.synthetic_train >= 1 && options.synthetic_train <= kMaxImages,
          "[dataset] expected 1 to 1,000,000 synthetic training images, got ", options.synthetic_train);
  require(options.synthetic_test >= 0 && options.synthetic_test <= kMaxImages,
          "[dataset] expected 0 to 1,000,000 synthetic test images, got ", options.synthetic_test);
  Dataset dataset{.description = "synthetic shapes", .classes = {}};
  for (const ShapeClass& shape : kShapes) dataset.classes.emplace_back(shape.name);
  dataset.train = draw_images(options.read_train ? options.synthetic_train : 0, options.seed, "synthetic train");
  if (options.synthetic_test > 0) {
    dataset.load_test = [count = options.synthetic_test, seed = options.seed] {
      return draw_images(count, seed, "synthetic test");
    };
  }
  return dataset;
}

}  // namespace stagewise
