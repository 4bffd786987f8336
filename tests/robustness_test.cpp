// How accurate a network stays on images that are disturbed: what each disturbance does to pixels, and to a network.
#include "search/report/robustness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "cpu/cpu_backend.h"
#include "tensor/random.h"

namespace stagewise {
namespace {

/// Shades about grey, in pixels of their own.
Images shaded_images(std::int64_t count, std::int64_t height, std::int64_t width) {
  Images images{.height = height, .width = width, .channels = 3, .pixels = {}, .labels = {}};
  images.labels.assign(static_cast<std::size_t>(count), 0);
  for (std::int64_t i = 0; i < count * images.image_bytes(); ++i)
    images.pixels.push_back(static_cast<std::uint8_t>(60 + i % 127 / 2));  // 128, the squares' grey, isn't among them
  return images;
}

TEST(Robustness, NoiseHasTheDeviationThatItSays) {
  const Images images = shaded_images(20, 16, 16), noisy = with_noise(images, 12.0);
  double sum = 0.0, squares = 0.0;
  const auto count = static_cast<double>(images.pixels.size());
  for (std::size_t i = 0; i < images.pixels.size(); ++i) {
    const double noise = noisy.pixels[i] - images.pixels[i];
    sum += noise / count;
    squares += noise * noise / count;
  }
  EXPECT_NEAR(sum, 0.0, 4.0 * 12.0 / std::sqrt(count));
  EXPECT_NEAR(std::sqrt(squares), std::sqrt(144.0 + 1.0 / 12.0), 4.0 * 12.0 / std::sqrt(2.0 * count));  // and rounded
  EXPECT_EQ(with_noise(images, 0.0).pixels, images.pixels);
  EXPECT_EQ(with_noise(images, 12.0).pixels, noisy.pixels);
  const Images white = with_noise({.height = 1, .width = 2, .channels = 1, .pixels = {255, 0}, .labels = {0}}, 40.0);
  EXPECT_TRUE(white.pixels[0] > 100 && white.pixels[1] < 155);  // it ends at 0 and 255, and doesn't begin again
}

TEST(Robustness, ASquareHidesJustThePixelsThatItSays) {
  const Images images = shaded_images(200, 12, 20);
  std::set<std::int64_t> tops, lefts;
  for (const double share : {0.0, 0.25, 0.5, 1.0}) {
    const Images hidden = with_squares(images, share);
    std::size_t i = 0;
    for (std::int64_t image = 0; image < images.count(); ++image) {
      const Square square = square_in(images, image, share), larger = square_in(images, image, share + 0.1);
      EXPECT_EQ(square.side, std::llround(12 * share));
      EXPECT_TRUE(square.top >= 0 && square.left >= 0 && square.top + square.side <= 12 &&
                  square.left + square.side <= 20);
      if (share < 1.0) {
        EXPECT_TRUE(larger.top <= square.top && square.top + square.side <= larger.top + larger.side);
        EXPECT_TRUE(larger.left <= square.left && square.left + square.side <= larger.left + larger.side);
      }
      if (share == 0.25) tops.insert(square.top), lefts.insert(square.left);
      for (std::int64_t row = 0; row < 12; ++row) {
        for (std::int64_t column = 0; column < 20; ++column) {
          const bool inside = row >= square.top && row < square.top + square.side && column >= square.left &&
                              column < square.left + square.side;
          for (int channel = 0; channel < 3; ++channel, ++i) {
            ASSERT_EQ(hidden.pixels[i], inside ? 128 : images.pixels[i]) << image << ": " << row << ", " << column;
          }
        }
      }
    }
  }
  EXPECT_EQ(tops.size(), 10U);  // anywhere
  EXPECT_EQ(lefts.size(), 18U);
}

TEST(Robustness, OfManyImagesSomeAreTakenEvenly) {
  Images images = shaded_images(10, 4, 4);
  std::iota(images.labels.begin(), images.labels.end(), 0);
  const Images some = some_of(images, 4);
  EXPECT_EQ(some.labels, (std::vector<std::int32_t>{0, 2, 5, 7}));
  EXPECT_TRUE(std::equal(some.pixels.end() - 48, some.pixels.end(), images.pixels.begin() + 7 * 48));
  EXPECT_EQ(some_of(images, 11).pixels, images.pixels);
}

/// A network that has learnt to tell images of 116 from images of 140, each with a texture of its own.
struct TellsShades {
  std::unique_ptr<Backend> backend = make_cpu_backend({.threads = 2});
  Images images{.height = 8, .width = 8, .channels = 3, .pixels = {}, .labels = {}};
  Normalisation normalisation;
  Learner learner;

  TellsShades() {
    for (int i = 0; i < 60; ++i) images.labels.push_back(i % 2);
    for (std::uint64_t i = 0; i < 60 * 8 * 8 * 3; ++i) {
      const int shade = i / (8 * 8 * 3) % 2 == 0 ? 116 : 140;
      images.pixels.push_back(static_cast<std::uint8_t>(shade + static_cast<int>(Random(3).below(i, 17)) - 8));
    }
    normalisation = channel_normalisation(images);
    Architecture architecture = Architecture::of_depths({1});
    architecture.height = architecture.width = 8;
    architecture.classes = 2;
    learner.network = std::make_unique<Network>(*backend, architecture, 1);
    const ImageStore store(*backend, images, 2, normalisation);
    const TrainingOptions options{.epochs = 10, .batch_size = 20};
    for (int epoch = 0; epoch < 10; ++epoch) train_epoch(learner, store, all_indices(60), options, epoch);
  }

  PassResult judged(const Images& of) const {
    return evaluate(*learner.network, ImageStore(*backend, of, 2, normalisation), all_indices(of.count()));
  }
};

TEST(Robustness, MisleadingChangesAreNoLargerThanTheyMayBeAndRaiseTheLoss) {
  const TellsShades shades;
  const Images& images = shades.images;
  ASSERT_EQ(shades.judged(images).right, 60);
  const auto directions = misleading_directions(*shades.learner.network, images, shades.normalisation);
  ASSERT_EQ(directions.size(), images.pixels.size());
  EXPECT_EQ(misled(images, directions, 0.0).pixels, images.pixels);
  const double loss = shades.judged(images).loss;
  for (const int step : {1, 4}) {
    const Images misleading = misled(images, directions, step);
    std::size_t moved = 0;
    for (std::size_t i = 0; i < images.pixels.size(); ++i) {
      const int change = misleading.pixels[i] - images.pixels[i];
      EXPECT_TRUE(change == 0 || change == step || change == -step);
      moved += change != 0 ? 1 : 0;
    }
    EXPECT_GT(moved, images.pixels.size() / 2);
    // What is as large, but random, does less.
    std::vector<std::int8_t> random;
    for (std::uint64_t i = 0; i < directions.size(); ++i) random.push_back(Random(4).below(i, 2) == 0 ? 1 : -1);
    EXPECT_GT(shades.judged(misleading).loss, loss);
    EXPECT_GT(shades.judged(misleading).loss, shades.judged(misled(images, random, step)).loss);
  }
  EXPECT_EQ(misled({.height = 1, .width = 2, .channels = 1, .pixels = {255, 3}, .labels = {0}}, {1, -1}, 8.0).pixels,
            (std::vector<std::uint8_t>{255, 0}));
}

TEST(Robustness, BeginsWithThePlainAccuracyAndIsTheSameAgain) {
  const TellsShades shades;
  std::vector<std::int64_t> counted;
  const auto measure = [&] {
    return robustness_of(*shades.learner.network, shades.images, shades.normalisation, DType::float32,
                         [&](const PassProgress& pass) {
                           counted.push_back(pass.images_done);
                           EXPECT_LE(pass.images_done, pass.images_total);
                           if (pass.images_done == pass.images_total) counted.push_back(-1);
                         });
  };
  const std::vector<Disturbance> first = measure();
  EXPECT_EQ(counted.back(), -1);  // the end of the last pass is the end of all
  counted.pop_back();
  EXPECT_TRUE(std::is_sorted(counted.begin(), counted.end()));
  const std::vector<Disturbance> again = measure();
  ASSERT_EQ(first.size(), 3U);
  for (std::size_t kind = 0; kind < 3; ++kind) {
    ASSERT_EQ(first[kind].points.size(), 5U);
    for (std::size_t i = 0; i < 5; ++i) {
      EXPECT_EQ(first[kind].points[i].right.count, again[kind].points[i].right.count);
      EXPECT_EQ(first[kind].points[i].example.pixels, again[kind].points[i].example.pixels);
      EXPECT_EQ(first[kind].points[i].right.of, 60);
    }
    EXPECT_EQ(first[kind].points[0].strength, 0.0);
    EXPECT_EQ(first[kind].points[0].right.count, shades.judged(shades.images).right);
  }
  const Images strongest =
      misled(shades.images, misleading_directions(*shades.learner.network, shades.images, shades.normalisation), 8.0);
  EXPECT_EQ(first[2].points[4].right.count, shades.judged(strongest).right);
}

}  // namespace
}  // namespace stagewise
