// Folders that don't fit into memory: the same images and batches as if they did, in bounded memory.
#include "datasets/image_source.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>
#include <utility>

#include "cpu/cpu_backend.h"
#include "datasets/fingerprint.h"
#include "datasets/loader.h"
#include "tensor/random.h"
#include "tests/picture_files.h"
#include "tests/sanitized.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

std::vector<std::int32_t> all_of(const Images& images) {
  std::vector<std::int32_t> indices(static_cast<std::size_t>(images.count()));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

constexpr std::int64_t kSide = 8, kBytes = kSide * kSide * 3;

/// A PPM file of random pixels, up to 16 a side.
std::string photograph(std::uint64_t number) {
  const Random random(number);
  const int width = 1 + static_cast<int>(random.below(0, 16)), height = 1 + static_cast<int>(random.below(1, 16));
  std::vector<std::uint8_t> pixels;
  for (int i = 0; i < width * height * 3; ++i) {
    pixels.push_back(static_cast<std::uint8_t>(random.bits(100 + static_cast<std::uint64_t>(i))));
  }
  return picture_files::ppm(width, height, pixels);
}

class ImageFolderInFiles : public testing::Test {
 protected:
  void SetUp() override {
    for (const std::string part : {"train/ant", "train/bee", "val/bee", "test/ant"}) {
      for (int i = 0; i < 12; ++i) folder_.write(concat(part, "/", i, ".ppm"), photograph(part.size() + 17 * i));
    }
  }

  Dataset open(std::int64_t cached_images, int threads = 2) const {
    return open_dataset(folder_.path(), {.image_size = kSide, .threads = threads, .cache = cached_images * kBytes});
  }
  Dataset in_memory() const { return open_dataset(folder_.path(), {.image_size = kSide}); }

  TemporaryFolder folder_;
};

TEST_F(ImageFolderInFiles, TheImagesAreTheSameWhateverTheThreadsAndTheCache) {
  const Dataset memory = in_memory();
  ASSERT_EQ(memory.train.source, nullptr);
  std::vector<std::int32_t> indices(36);
  for (std::int32_t i = 0; i < 36; ++i) indices[static_cast<std::size_t>(i)] = (i * 7 + 5) % 36;
  const std::vector<std::int32_t> most(indices.begin(), indices.begin() + 30),
      few(indices.begin(), indices.begin() + 3);
  const Images expected = loaded(memory.train, indices);
  for (const std::int64_t cached : {0, 5, 36, 71}) {
    for (const int threads : {1, 2, 4}) {
      const Dataset data = open(cached, threads);
      ASSERT_NE(data.train.source, nullptr);
      EXPECT_TRUE(data.train.pixels.empty());
      EXPECT_EQ(data.train.labels, memory.train.labels);
      EXPECT_EQ(data.held_out, 12);
      EXPECT_EQ(loaded(data.train, indices).pixels, expected.pixels);
      EXPECT_EQ(difference(fingerprint_of(memory), fingerprint_of(data)), "");
      for (const auto& some : {std::vector<std::int32_t>(), indices, most, few}) {
        EXPECT_EQ(channel_normalisation(data.train, some).scale, channel_normalisation(memory.train, some).scale);
        EXPECT_EQ(channel_normalisation(data.train, some).offset, channel_normalisation(memory.train, some).offset);
        EXPECT_EQ(mean_image_normalisation(data.train, some).offset,
                  mean_image_normalisation(memory.train, some).offset);
      }
      const Images test = data.load_test();
      EXPECT_EQ(test.source == nullptr, cached == 71);  // which the other 35 hold twice
      EXPECT_EQ(loaded(test, all_of(test)).pixels, memory.load_test().pixels);
    }
  }
  EXPECT_EQ(open(72).train.source, nullptr);  // once more for the device
}

TEST_F(ImageFolderInFiles, SoAreTheBatchesFromTheBeginningAndFromTheMiddleOfAnEpoch) {
  const auto backend = make_cpu_backend();
  const Dataset memory = in_memory(), data = open(5);
  const Normalisation normalisation = channel_normalisation(memory.train);
  const ImageStore expected_store(*backend, memory.train, 2, normalisation),
      store(*backend, data.train, 2, normalisation);
  EXPECT_EQ(store.image_shape(), expected_store.image_shape());
  const std::vector<std::int32_t> indices = {35, 3, 4, 5, 6, 17, 9, 30, 1, 0, 22};
  for (const Flip flip : {Flip::random, Flip::alternating}) {
    for (const std::int64_t first : {0, 2}) {
      const Augmentation augmentation{.flip = flip, .cutout = 3};
      TrainingEpoch expected(expected_store, indices, 3, augmentation, 7, 5),
          got(store, indices, 3, augmentation, 7, 5);
      expected.skip_to(first);
      got.skip_to(first);
      for (std::int64_t batch = first; batch < expected.batches(); ++batch) {
        const Batch one = expected.next(), other = got.next();
        EXPECT_EQ(other.x.to_doubles(), one.x.to_doubles());
        EXPECT_EQ(other.labels.to_host<std::int32_t>(), one.labels.to_host<std::int32_t>());
      }
    }
  }
  EXPECT_EQ(store.batch(indices).x.to_doubles(), expected_store.batch(indices).x.to_doubles());
  EXPECT_THROW(store.batch(std::vector<std::int32_t>{36}), Error);
}

TEST_F(ImageFolderInFiles, WhatCannotBeReadIsNamedAtFirstOrWhenItIsNeeded) {
  const Dataset data = open(0);
  std::filesystem::remove(folder_.path("train/bee/3.ppm"));
  std::int32_t gone = -1;  // its index: files go by their names, 0 1 10 11 2 3
  ReadAhead images(data.train.source, all_of(data.train));
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(kBytes));
  for (std::int32_t i = 0; i < 36; ++i) {
    const std::string problem = message_of([&] { images.next(pixels.data()); });
    if (problem == "no error") continue;
    EXPECT_TRUE(contains(problem, "train/bee/3.ppm"));
    EXPECT_EQ(std::exchange(gone, i), -1);  // one, and those behind it are read
  }
  EXPECT_EQ(gone, 12 + 5);
  EXPECT_TRUE(contains(message_of([&] { images.next(pixels.data()); }), "all 36 images"));

  for (const char* const file : {"train/ant/1.ppm", "val/bee/11.ppm", "test/ant/0.ppm"})
    folder_.write(file, "nonsense");
  EXPECT_TRUE(contains(message_of([&] { open(0); }), "2 of 35 images can't be read"));
  const auto skipping = [&](std::int64_t cached) {
    return open_dataset(folder_.path(), {.image_size = kSide, .skip_unreadable = true, .cache = cached * kBytes});
  };
  const Dataset memory = skipping(1000), in_files = skipping(5);
  EXPECT_EQ(in_files.train.labels, memory.train.labels);
  EXPECT_EQ(in_files.held_out, 11);
  EXPECT_EQ(memory.held_out, 11);
  EXPECT_EQ(difference(fingerprint_of(memory), fingerprint_of(in_files)), "");
  const Images test = in_files.load_test();
  EXPECT_EQ(loaded(test, all_of(test)).pixels, memory.load_test().pixels);
}

/// The most memory, in bytes, that a process of its own takes for an epoch over the folder.
std::int64_t memory_of_an_epoch(const std::string& folder, std::int64_t side, std::int64_t cache) {
  const pid_t child = fork();
  if (child == 0) {
    const auto backend = make_cpu_backend();
    const Dataset data = open_dataset(folder, {.image_size = side, .threads = 4, .cache = cache});
    const ImageStore store(*backend, data.train, std::ssize(data.classes), channel_normalisation(data.train));
    const std::vector<std::int32_t> indices = all_of(data.train);
    TrainingEpoch epoch(store, indices, 16, {}, 1, 0);
    for (std::int64_t i = 0; i < epoch.batches(); ++i) epoch.next();
    _exit(fingerprint_of(data).digest.size() == 16 ? 0 : 1);
  }
  int status = 0;
  rusage usage{};
  wait4(child, &status, 0, &usage);
  EXPECT_EQ(status, 0);
  return usage.ru_maxrss * 1024;
}

TEST(ImageFolderInBoundedMemory, AnEpochTakesAFractionOfWhatTheImagesTakeDecoded) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need memory of their own";
  const TemporaryFolder folder;
  constexpr std::int64_t kImages = 800, kLarge = 224, kDecoded = kImages * kLarge * kLarge * 3;  // 120 MB
  for (std::int64_t i = 0; i < kImages; ++i) {
    folder.write(concat("train/", i % 2, "/", i, ".ppm"), photograph(static_cast<std::uint64_t>(i)));
  }
  EXPECT_GT(memory_of_an_epoch(folder.path(), kLarge, 10 * kDecoded), 2 * kDecoded);
  EXPECT_LT(memory_of_an_epoch(folder.path(), kLarge, kDecoded / 10), 3 * kDecoded / 4);
}

}  // namespace
}  // namespace stagewise
