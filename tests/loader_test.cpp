// From images to batches: the normalisation, and that batches are what the random numbers say.
#include "datasets/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>
#include <stdexcept>

#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "datasets/shuffle.h"
#include "tensor/random.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

/// `count` images of 6x6 pixels; red is the row, green the column, blue the image.
Images position_images(std::int64_t count) {
  Images images{.height = 6, .width = 6};
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::uint8_t h = 0; h < 6; ++h) {
      for (std::uint8_t w = 0; w < 6; ++w) {
        images.pixels.insert(images.pixels.end(), {h, w, static_cast<std::uint8_t>(i)});
      }
    }
    images.labels.push_back(static_cast<std::int32_t>(i % 3));
  }
  return images;
}

Normalisation identity_normalisation() { return {{1, 1, 1}, std::vector<float>(6 * 6 * 3, 0.0F)}; }

TEST(Normalisation, CentresAndScalesEachChannel) {
  Images images{.height = 1, .width = 2};
  images.pixels = {0, 10, 5, 20, 10, 9};
  images.labels = {0};
  const Normalisation normalisation = channel_normalisation(images);
  EXPECT_NEAR(normalisation.scale[0], 0.1, 1e-6);  // mean 10, deviation 10
  EXPECT_NEAR(normalisation.offset[0], 1.0, 1e-6);
  EXPECT_NEAR(10 * normalisation.scale[1] - normalisation.offset[1], 0.0, 1e-5);  // constant: only centred
  EXPECT_NEAR(normalisation.scale[2], 0.5, 1e-6);
  const Normalisation mean_image = mean_image_normalisation(images);
  EXPECT_NEAR(mean_image.offset[3], 20.0 / 255, 1e-6);
}

TEST(Normalisation, IsOfTheImagesAtTheIndicesAlone) {
  const Images images = position_images(5);
  Images two = position_images(0);
  for (const std::int32_t i : {1, 4}) {
    const auto first = images.pixels.begin() + i * images.image_bytes();
    two.pixels.insert(two.pixels.end(), first, first + images.image_bytes());
    two.labels.push_back(i);
  }
  const std::vector<std::int32_t> indices = {1, 4};
  for (const auto& normalisation_of : {channel_normalisation, mean_image_normalisation}) {
    const Normalisation of_two = normalisation_of(two, {}, {}), chosen = normalisation_of(images, indices, {});
    EXPECT_EQ(chosen.scale, of_two.scale);
    EXPECT_EQ(chosen.offset, of_two.offset);
    EXPECT_NE(chosen.offset, normalisation_of(images, {}, {}).offset);
    for (const std::int32_t stray : {-1, 5}) {
      EXPECT_TRUE(
          contains(message_of([&] { normalisation_of(images, std::vector<std::int32_t>{stray}, {}); }), "0 to 4"));
    }
  }
}

TEST(Normalisation, HasThePublishedFiguresOnCifar10) {
  const char* const folder = std::getenv("STAGEWISE_CIFAR10");
  if (folder == nullptr) GTEST_SKIP() << "set STAGEWISE_CIFAR10 to the folder that holds cifar-10-batches-bin";
  const Normalisation normalisation = channel_normalisation(open_dataset(folder).train);
  const double means[] = {125.307, 122.950, 113.865}, deviations[] = {62.993, 62.089, 66.705};
  for (std::size_t channel = 0; channel < 3; ++channel) {
    EXPECT_NEAR(1.0 / normalisation.scale[channel], deviations[channel], 1e-3);
    EXPECT_NEAR(normalisation.offset[channel] / normalisation.scale[channel], means[channel], 1e-3);
  }
}

TEST(Loader, GivesEveryImageOnceInAnOrderOfItsOwn) {
  const auto backend = make_reference_backend(true);
  {
    const ImageStore store(*backend, position_images(23), 3, identity_normalisation());
    std::vector<std::int32_t> indices(23);
    for (std::int32_t i = 0; i < 23; ++i) indices[static_cast<std::size_t>(i)] = i;
    const auto epoch = [&](std::uint64_t seed, std::int64_t number, const Augmentation& augmentation = {}) {
      TrainingEpoch batches(store, indices, 5, augmentation, seed, number);
      std::vector<double> values;
      EXPECT_EQ(batches.batches(), 5);
      for (std::int64_t b = 0; b < batches.batches(); ++b) {
        const Batch batch = batches.next();
        EXPECT_EQ(batch.count(), b < 4 ? 5 : 3);
        const std::vector<double> x = batch.x.to_doubles();
        const auto labels = batch.labels.to_host<std::int32_t>();
        for (std::size_t i = 0; i < labels.size(); ++i) EXPECT_EQ(labels[i], std::lround(x[i * 108 + 2]) % 3);
        values.insert(values.end(), x.begin(), x.end());
      }
      return values;
    };
    const auto first = epoch(1, 0);
    std::set<double> images;
    for (std::size_t i = 2; i < first.size(); i += 108) images.insert(first[i]);
    EXPECT_EQ(images.size(), 23U);
    EXPECT_EQ(epoch(1, 0), first);
    EXPECT_NE(epoch(1, 1), first);
    EXPECT_NE(epoch(2, 0), first);

    int flipped = 0;  // without shifts the first pixel's column is 0, or 5 when flipped
    for (std::int64_t number = 0; number < 10; ++number) {
      const auto x = epoch(1, number, {.crop_padding = 0});
      for (std::size_t i = 1; i < x.size(); i += 108) flipped += x[i] == 5;
    }
    EXPECT_NEAR(flipped, 115, 30);
    const auto plain = epoch(1, 0, {.crop_padding = 0, .flip = Flip::none});
    for (std::size_t i = 0; i < plain.size(); i += 3) ASSERT_EQ(plain[i], (i / 18) % 6);

    TrainingEpoch all(store, std::span(indices).first(2), 2, {}, 1, 0);
    all.next();
    EXPECT_THROW(all.next(), std::logic_error);
    EXPECT_EQ(TrainingEpoch(store, std::span(indices).first(21), 5, {}, 1, 0).batches(), 4);  // none of one image
    EXPECT_EQ(TrainingEpoch(store, std::span(indices).first(1), 5, {}, 1, 0).batches(), 1);
  }
  EXPECT_EQ(backend->allocator().statistics().guard_violations, 0);
}

/// Which image, how many rows down and columns to the right, and whether mirrored.
using Draw = std::array<std::int32_t, 4>;

/// The draws of an epoch of `position_images`, in batches of four.
void expect_draws(const ImageStore& store, const Augmentation& augmentation, std::uint64_t seed, std::int64_t epoch,
                  const std::vector<Draw>& draws) {
  std::vector<std::int32_t> indices(draws.size());
  std::iota(indices.begin(), indices.end(), 0);
  TrainingEpoch batches(store, indices, 4, augmentation, seed, epoch);
  std::vector<double> x;
  for (std::int64_t b = 0; b < batches.batches(); ++b) {
    const std::vector<double> values = batches.next().x.to_doubles();
    x.insert(x.end(), values.begin(), values.end());
  }
  ASSERT_EQ(x.size(), draws.size() * 6 * 6 * 3);
  const auto reflected = [](std::int32_t at) { return at < 0 ? -at : at > 5 ? 10 - at : at; };
  auto pixel = x.begin();
  for (const auto& [image, row, column, flip] : draws) {
    for (std::int32_t h = 0; h < 6; ++h) {
      for (std::int32_t w = 0; w < 6; ++w, pixel += 3) {
        const std::vector<double> expected = {1.0 * reflected(h + row),
                                              1.0 * reflected((flip == 1 ? 5 - w : w) + column), 1.0 * image};
        ASSERT_EQ(std::vector<double>(pixel, pixel + 3), expected) << image << ": " << h << ' ' << w;
      }
    }
  }
}

TEST(Loader, CropsAndFlipsByTheNumbersOfAnImagesPlace) {
  const auto backend = make_reference_backend(true);
  const ImageStore store(*backend, position_images(11), 3, identity_normalisation());
  const std::uint64_t seed = 0xfedcba9876543210, epoch = 3;
  std::vector<std::int32_t> order(11);
  std::iota(order.begin(), order.end(), 0);
  shuffle(order, Random(seed, stream_of("order", epoch)));
  const Random random(seed, stream_of("augment", epoch));
  for (const std::int64_t padding : {0, 1, 4, 100}) {
    for (const Flip flip : {Flip::none, Flip::random}) {
      std::vector<Draw> draws;
      for (std::uint64_t place = 0; place < 11; ++place) {
        const std::int64_t most = std::min<std::int64_t>(padding, 5);
        const auto shift = [&](std::uint64_t number) {
          return static_cast<std::int32_t>(random.below(number, static_cast<std::uint64_t>(2 * most + 1))) -
                 static_cast<std::int32_t>(most);
        };
        draws.push_back({order[place], shift(3 * place), shift(3 * place + 1),
                         flip == Flip::random ? static_cast<std::int32_t>(random.below(3 * place + 2, 2)) : 0});
      }
      SCOPED_TRACE(concat("padding ", padding, ", flip ", name_of(flip)));
      expect_draws(store, {.crop_padding = padding, .flip = flip}, seed, epoch, draws);
    }
  }
}

/// Which of `count` images an epoch without crops shows mirrored, by image. The pixel at the left has green 0, else 5.
std::vector<bool> flipped_images(const ImageStore& store, std::int64_t batch_size, std::uint64_t seed,
                                 std::int64_t epoch) {
  std::vector<std::int32_t> indices(static_cast<std::size_t>(store.count()));
  std::iota(indices.begin(), indices.end(), 0);
  std::vector<bool> flipped(indices.size());
  TrainingEpoch batches(store, indices, batch_size, {.crop_padding = 0, .flip = Flip::alternating}, seed, epoch);
  for (std::int64_t b = 0; b < batches.batches(); ++b) {
    const std::vector<double> x = batches.next().x.to_doubles();
    for (std::size_t at = 0; at < x.size(); at += 108) flipped.at(static_cast<std::size_t>(x[at + 2])) = x[at + 1] == 5;
  }
  return flipped;
}

TEST(Loader, AlternatingFlipsShowEachImageTheOtherWayInEveryEpoch) {
  const auto backend = make_reference_backend(true);
  const ImageStore store(*backend, position_images(200), 3, identity_normalisation());
  const std::vector<bool> first = flipped_images(store, 16, 1, 0);
  EXPECT_NEAR(static_cast<double>(std::count(first.begin(), first.end(), true)), 100.0, 30.0);
  std::vector<bool> others = first;
  others.flip();
  for (std::int64_t epoch = 1; epoch < 6; ++epoch) {
    // Neither the order nor the batches matter.
    EXPECT_EQ(flipped_images(store, 10 + epoch, 1, epoch), epoch % 2 == 0 ? first : others) << epoch;
  }
  EXPECT_NE(flipped_images(store, 16, 2, 0), first) << "another seed";
  // An image is drawn by its index: it doesn't matter which others there are.
  const std::vector<std::int32_t> some = {7, 150, 3, 199};
  TrainingEpoch few(store, some, 4, {.crop_padding = 0, .flip = Flip::alternating}, 1, 0);
  const std::vector<double> x = few.next().x.to_doubles();
  for (std::size_t at = 0; at < x.size(); at += 108) {
    EXPECT_EQ(x[at + 1] == 5, first.at(static_cast<std::size_t>(x[at + 2])));
  }
}

TEST(Loader, NamesTheFlips) {
  for (const Flip flip : {Flip::none, Flip::random, Flip::alternating}) EXPECT_EQ(flip_from(name_of(flip)), flip);
  EXPECT_THROW(flip_from("sometimes"), Error);
}

/// How often each pixel of a 6x6 image was cut out in `epochs` epochs over `count` images that are 200 everywhere.
std::array<int, 36> cut_pixels(std::int64_t cutout, std::int64_t count, std::int64_t epochs) {
  const auto backend = make_cpu_backend();
  Images images = position_images(count);
  std::fill(images.pixels.begin(), images.pixels.end(), std::uint8_t{200});
  const ImageStore store(*backend, images, 3, identity_normalisation());
  std::vector<std::int32_t> indices(static_cast<std::size_t>(count));
  std::iota(indices.begin(), indices.end(), 0);
  std::array<int, 36> counts{};
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    const std::vector<double> x =
        TrainingEpoch(store, indices, count, {.cutout = cutout}, 1, epoch).next().x.to_doubles();
    for (std::size_t at = 0; at < x.size(); at += 3) {
      EXPECT_TRUE(x[at] == x[at + 1] && x[at] == x[at + 2] && (x[at] == 0 || x[at] == 200));
      counts.at(at / 3 % 36) += x[at] == 0 ? 1 : 0;
    }
  }
  return counts;
}

TEST(Loader, CutsOutASquareWhoseCentreLiesAnywhere) {
  const std::int64_t count = 100, epochs = 36;
  for (const int cutout : {0, 1, 2, 3, 4, 100}) {
    const std::array<int, 36> counts = cut_pixels(cutout, count, epochs);
    for (int pixel = 0; pixel < 36; ++pixel) {
      // Of the 6x6 centres, those whose square reaches the pixel; an even square has one more above and to the left.
      int reach = 0;
      for (int centre = 0; centre < 36; ++centre) {
        const auto reaches = [&](int at, int middle) {
          return at >= middle - cutout / 2 && at <= middle + (cutout + 1) / 2 - 1;
        };
        reach += reaches(pixel / 6, centre / 6) && reaches(pixel % 6, centre % 6) ? 1 : 0;
      }
      const double share = reach / 36.0, draws = static_cast<double>(count * epochs);
      EXPECT_NEAR(counts.at(static_cast<std::size_t>(pixel)), draws * share,
                  5.0 * std::sqrt(draws * share * (1.0 - share)))
          << "cutout " << cutout << ", pixel " << pixel;
    }
  }
}

TEST(Loader, ACutoutLeavesTheOtherDrawsAsTheyAre) {
  const auto backend = make_reference_backend(true);
  const ImageStore store(*backend, position_images(40), 3, identity_normalisation());
  std::vector<std::int32_t> indices(40);
  std::iota(indices.begin(), indices.end(), 0);
  const std::vector<double> whole = TrainingEpoch(store, indices, 40, {}, 4, 2).next().x.to_doubles(),
                            cut = TrainingEpoch(store, indices, 40, {.cutout = 3}, 4, 2).next().x.to_doubles();
  int changed = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_TRUE(cut[i] == whole[i] || cut[i] == 0);
    changed += cut[i] == whole[i] ? 0 : 1;
  }
  EXPECT_GT(changed, 40);
}

// Recorded: what a seed means must not change from one version to the next.
TEST(Loader, GivesTheBatchesThatItAlwaysGave) {
  const auto backend = make_reference_backend();
  const ImageStore store(*backend, position_images(10), 3, identity_normalisation());
  expect_draws(store, {.crop_padding = 3}, 1, 0,
               {{3, -1, -3, 0},
                {4, 2, 0, 0},
                {6, 3, 1, 1},
                {7, -1, -1, 0},
                {9, 2, -3, 0},
                {5, 0, -1, 0},
                {2, -1, 2, 1},
                {1, -2, 1, 0},
                {0, 3, 1, 1},
                {8, 2, 3, 0}});
  expect_draws(store, {.crop_padding = 3}, 0x123456789abcdef, 5,
               {{0, 3, 0, 0},
                {4, 2, -2, 0},
                {3, -2, 1, 1},
                {6, 2, 0, 1},
                {1, -1, 2, 1},
                {9, -2, 3, 0},
                {7, -1, -1, 1},
                {8, 3, 3, 1},
                {2, 2, -3, 0},
                {5, 0, 2, 1}});
}

TEST(Loader, DrawsEveryShiftAlike) {
  const auto backend = make_reference_backend();
  const ImageStore store(*backend, position_images(25), 3, identity_normalisation());
  std::vector<std::int32_t> indices(25);
  std::iota(indices.begin(), indices.end(), 0);
  std::array<std::array<int, 5>, 5> counts{};
  const std::int64_t epochs = 100;
  for (std::int64_t number = 0; number < epochs; ++number) {
    TrainingEpoch batches(store, indices, 25, {.crop_padding = 2, .flip = Flip::none}, 1, number);
    const std::vector<double> x = batches.next().x.to_doubles();
    // The pixel at (3,3) came from row 1 to 5 and column 1 to 5: no edge is in the way.
    for (std::size_t at = (3 * 6 + 3) * 3; at < x.size(); at += 108) {
      ++counts.at(static_cast<std::size_t>(x[at] - 1)).at(static_cast<std::size_t>(x[at + 1] - 1));
    }
  }
  const double expected = static_cast<double>(epochs);  // of each of 25 shifts
  double chi_squared = 0.0;
  for (const auto& row : counts) {
    for (const int count : row) chi_squared += std::pow(count - expected, 2) / expected;
  }
  EXPECT_LT(chi_squared, 60.0);  // 24 degrees of freedom: p < 1e-4
}

TEST(Loader, GivesTheSameBatchesOnTheFastBackend) {
  const auto reference = make_reference_backend(), fast = make_cpu_backend();
  Images images = position_images(50);
  for (std::size_t i = 0; i < images.pixels.size(); ++i)
    images.pixels[i] = static_cast<std::uint8_t>(Random(1).bits(i));
  const Normalisation normalisation = channel_normalisation(images);
  const ImageStore truth(*reference, images, 3, normalisation), store(*fast, images, 3, normalisation);
  std::vector<std::int32_t> indices(50);
  std::iota(indices.begin(), indices.end(), 0);
  TrainingEpoch expected(truth, indices, 16, {}, 3, 7), batches(store, indices, 16, {}, 3, 7);
  ASSERT_EQ(batches.batches(), expected.batches());
  Batch batch;
  for (std::int64_t b = 0; b < batches.batches(); ++b) {
    const void* const before = batch.x.address();
    batch = batches.next(batch);
    if (b > 0) {
      EXPECT_EQ(batch.x.address() == before, b < 3) << "overwritten where it is of the same size";
    }
    const Batch other = expected.next();
    EXPECT_EQ(batch.labels.to_host<std::int32_t>(), other.labels.to_host<std::int32_t>());
    const std::vector<double> x = batch.x.to_doubles(), y = other.x.to_doubles();
    ASSERT_EQ(x.size(), y.size());
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], 1e-6) << b << ' ' << i;
  }
}

TEST(Loader, RefusesLabelsThatNameNoClass) {
  const auto backend = make_reference_backend(true);
  EXPECT_EQ(message_of([&] { ImageStore(*backend, position_images(4), 2, identity_normalisation()); }),
            "[loader] expected labels from 0 to 1, got 2 for image 2");
  Images images = position_images(4);
  images.labels[3] = -1;
  EXPECT_EQ(message_of([&] { ImageStore(*backend, images, 3, identity_normalisation()); }),
            "[loader] expected labels from 0 to 2, got -1 for image 3");
}

TEST(Loader, NormalisesAndRefusesWhatDoesNotFit) {
  const auto backend = make_reference_backend(true);
  Normalisation normalisation = identity_normalisation();
  normalisation.scale[1] = 2.0F;
  normalisation.offset[6 * 3 + 1] = 3.0F;  // row 1, column 0, green
  const ImageStore store(*backend, position_images(4), 3, normalisation);
  const std::vector<std::int32_t> index = {2};
  const std::vector<double> x = store.batch(index).x.to_doubles();
  EXPECT_EQ(x[2], 2.0);
  EXPECT_EQ(x[6 * 3 + 1], -3.0);
  EXPECT_EQ(x[7 * 3 + 1], 2.0);
  EXPECT_THROW(store.batch(std::vector<std::int32_t>{4}), Error);
  EXPECT_THROW(store.batch(std::vector<std::int32_t>{-1}), Error);
  EXPECT_THROW(store.batch(std::vector<std::int32_t>{}), Error);
  EXPECT_THROW(store.batch(index, {.row_padding = 6}), Error);
  EXPECT_THROW(store.batch(index, {.column_padding = -1}), Error);
  EXPECT_THROW(store.batch(index, {.cutout = -1}), Error);
  EXPECT_THROW(TrainingEpoch(store, std::vector<std::int32_t>{0, 4}, 1, {}, 1, 0), Error);
  EXPECT_THROW(TrainingEpoch(store, index, 0, {}, 1, 0), Error);
  EXPECT_THROW(TrainingEpoch(store, index, 1, {.crop_padding = -1}, 1, 0), Error);
  EXPECT_THROW(TrainingEpoch(store, index, 1, {.cutout = -1}, 1, 0), Error);
  EXPECT_THROW(ImageStore(*backend, position_images(0), 3, normalisation), Error);
  normalisation.offset.pop_back();
  EXPECT_THROW(ImageStore(*backend, position_images(2), 3, normalisation), Error);
}

}  // namespace
}  // namespace stagewise
