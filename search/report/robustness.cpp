#include "search/report/robustness.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <utility>

#include "datasets/image_source.h"
#include "layers/image_gradient.h"
#include "tensor/random.h"

namespace stagewise {

namespace {

constexpr std::uint8_t kGrey = 128;
constexpr std::size_t kStrengths = 4;
constexpr std::int64_t kGradientsAtOnce = 64;  // images: on the way back, every layer's maps are there at once
constexpr std::int64_t kGradientPasses = 3;    // that a gradient takes as long as

std::uint8_t pixel(double value) { return static_cast<std::uint8_t>(std::clamp(std::round(value), 0.0, 255.0)); }

}  // namespace

Images with_noise(Images images, double deviation) {
  const Random random(0, stream_of("report noise"));
  for (std::size_t i = 0; i < images.pixels.size(); ++i) {
    images.pixels[i] = pixel(images.pixels[i] + deviation * random.normal(i));
  }
  return images;
}

Square square_in(const Images& images, std::int64_t image, double share) {
  const Random random(0, stream_of("report occlusion", static_cast<std::uint64_t>(image)));
  const auto side = std::llround(share * static_cast<double>(std::min(images.height, images.width)));
  const auto place = [&](std::uint64_t draw, std::int64_t length) {
    return static_cast<std::int64_t>(random.uniform(draw) * static_cast<double>(length - side + 1));
  };
  return {.top = place(0, images.height), .left = place(1, images.width), .side = side};
}

Images with_squares(Images images, double share) {
  for (std::int64_t image = 0; image < images.count(); ++image) {
    const Square square = square_in(images, image, share);
    for (std::int64_t row = square.top; row < square.top + square.side; ++row) {
      const std::int64_t first = image * images.image_bytes() + (row * images.width + square.left) * images.channels;
      std::fill_n(images.pixels.begin() + first, square.side * images.channels, kGrey);
    }
  }
  return images;
}

std::vector<std::int8_t> misleading_directions(const Network& network, const Images& images,
                                               const Normalisation& normalisation, const PassCallback& callback) {
  const ImageStore store(network.backend(), images, network.architecture().classes, normalisation);
  const std::vector<std::int32_t> indices = all_indices(store.count());
  std::vector<std::int8_t> directions;
  const auto visit = [&](const Batch& batch) {
    // x = pixel * scale - offset, so the gradient by the pixel is the one by x, times the scale.
    for (const double slope : image_gradient(network, batch.x, batch.labels).to_doubles()) {
      const double by_pixel = slope * normalisation.scale[directions.size() % normalisation.scale.size()];
      directions.push_back(by_pixel > 0.0 ? 1 : by_pixel < 0.0 ? -1 : 0);
    }
  };
  for (std::int64_t first = 0; first < store.count(); first += kGradientsAtOnce) {
    const std::int64_t count = std::min(kGradientsAtOnce, store.count() - first);
    for_each_batch(store, std::span(indices).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)),
                   visit);
    if (callback) callback({.images_done = first + count, .images_total = store.count()});
  }
  return directions;
}

Images misled(Images images, const std::vector<std::int8_t>& directions, double step) {
  for (std::size_t i = 0; i < images.pixels.size(); ++i)
    images.pixels[i] = pixel(images.pixels[i] + step * directions[i]);
  return images;
}

Images some_of(const Images& images, std::int64_t count) {
  const std::int64_t all = images.count(), wanted = std::min(count, all);
  std::vector<std::int32_t> chosen;
  for (std::int64_t i = 0; i < wanted; ++i) chosen.push_back(static_cast<std::int32_t>(i * all / wanted));
  return loaded(images, chosen);
}

namespace {

struct Kind {
  const char *name, *unit;
  std::array<double, kStrengths> strengths;
  std::function<Images(double strength)> disturbed;
};

/// Many passes over the same images, told of as if they were one.
class Passes {
 public:
  Passes(std::int64_t count, const PassCallback& callback) : count_(count), callback_(callback) {}

  /// For the next pass, which takes as long as `weight` of them.
  PassCallback next(std::int64_t weight = 1) {
    const std::int64_t before = std::exchange(done_, done_ + weight);
    return [this, weight, before](const PassProgress& pass) {
      if (!callback_) return;
      callback_({.images_done = before * pass.images_total + weight * pass.images_done,
                 .images_total = count_ * pass.images_total});
    };
  }

 private:
  std::int64_t count_, done_ = 0;
  const PassCallback& callback_;
};

}  // namespace

std::vector<Disturbance> robustness_of(const Network& network, const Images& images, const Normalisation& normalisation,
                                       DType feature_maps, const PassCallback& callback) {
  std::vector<std::int8_t> directions;  // filled in before anything is misled
  const auto noisy = [&](double deviation) { return with_noise(images, deviation); };
  const auto hidden = [&](double share) { return with_squares(images, share); };
  const auto misleading = [&](double step) { return misled(images, directions, step); };
  const std::array<Kind, 3> kinds = {
      {{"noise", "standard deviation, of 255", {5, 10, 20, 40}, noisy},
       {"a part hidden", "side of a grey square, of the image's", {0.25, 0.375, 0.5, 0.625}, hidden},
       {"made to mislead", "change of every value, of 255", {1, 2, 4, 8}, misleading}}};
  Passes passes(1 + kGradientPasses + std::ssize(kinds) * std::int64_t{kStrengths}, callback);
  const InferenceNetwork inference(network);
  const auto point = [&](double strength, const Images& disturbed) -> Disturbance::Point {
    const ImageStore store(network.backend(), disturbed, network.architecture().classes, normalisation, feature_maps);
    const PassResult result = predict_all(inference, store, all_indices(store.count()), passes.next()).result();
    return {.strength = strength, .right = share_of(result.right, result.images), .example = some_of(disturbed, 1)};
  };
  const Disturbance::Point undisturbed = point(0.0, images);
  directions = misleading_directions(network, images, normalisation, passes.next(kGradientPasses));
  std::vector<Disturbance> disturbances;
  for (const Kind& kind : kinds) {
    disturbances.push_back({.name = kind.name, .unit = kind.unit, .points = {undisturbed}});
    for (const double by : kind.strengths) disturbances.back().points.push_back(point(by, kind.disturbed(by)));
  }
  return disturbances;
}

}  // namespace stagewise
