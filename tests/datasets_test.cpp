// Data sets: what is read, what is refused and in which words.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "datasets/dataset.h"
#include "datasets/image_folder.h"
#include "datasets/split.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

using Pixel = std::array<std::uint8_t, 3>;

/// A CIFAR record of one colour, its first pixel marked by 1, 2, 3.
std::string record(const std::string& labels, Pixel colour) {
  std::string text = labels;
  for (std::size_t plane = 0; plane < 3; ++plane) {
    text += static_cast<char>(plane + 1);
    text += std::string(1023, static_cast<char>(colour[plane]));
  }
  return text;
}

void write_cifar10(const TemporaryFolder& folder) {
  for (int batch = 1; batch <= 5; ++batch) {
    const auto label = static_cast<char>(batch);
    folder.write(concat("cifar-10-batches-bin/data_batch_", batch, ".bin"),
                 record({label}, {10, 20, 30}) + record({9}, {40, 50, 60}));
  }
  folder.write("cifar-10-batches-bin/test_batch.bin", record({'\7'}, {7, 8, 9}));
}

/// A binary PPM of one colour.
std::string ppm(int width, int height, Pixel colour) {
  std::string text = concat("P6\n", width, " ", height, "\n255\n");
  for (int i = 0; i < width * height; ++i) text.append(colour.begin(), colour.end());
  return text;
}

TEST(Cifar, ReadsPlanarRecordsPixelByPixel) {
  const TemporaryFolder folder;
  write_cifar10(folder);
  for (const std::string& path : {folder.path(), folder.path("cifar-10-batches-bin")}) {
    const Dataset data = open_dataset(path);
    ASSERT_EQ(data.train.count(), 10);
    EXPECT_EQ(data.classes.at(3), "cat");
    EXPECT_EQ(data.train.labels, (std::vector<std::int32_t>{1, 9, 2, 9, 3, 9, 4, 9, 5, 9}));
    const auto& pixels = data.train.pixels;
    EXPECT_EQ((std::vector<std::uint8_t>(pixels.begin(), pixels.begin() + 6)),
              (std::vector<std::uint8_t>{1, 2, 3, 10, 20, 30}));
    EXPECT_EQ(pixels[3072 + 3], 40);
    const Images test = data.load_test();
    EXPECT_EQ(test.labels, std::vector<std::int32_t>{7});
    EXPECT_EQ(test.pixels[5], 9);
  }
}

TEST(Cifar, ReadsTheFineLabelsOfCifar100) {
  const TemporaryFolder folder;
  folder.write("train.bin", record({'\3', 99}, {1, 1, 1}));
  folder.write("test.bin", record({'\3', 42}, {1, 1, 1}));
  const Dataset data = open_dataset(folder.path());
  EXPECT_EQ(data.classes.size(), 100U);
  EXPECT_EQ(data.train.labels, std::vector<std::int32_t>{99});
  EXPECT_EQ(data.load_test().labels, std::vector<std::int32_t>{42});
}

TEST(Cifar, NamesTheFileThatIsWrong) {
  const TemporaryFolder folder;
  write_cifar10(folder);
  const std::string batch = "cifar-10-batches-bin/data_batch_3.bin", whole = folder.read(batch);
  folder.write(batch, whole.substr(0, 5000));
  const std::string truncated = message_of([&] { open_dataset(folder.path()); });
  for (const char* const part : {"data_batch_3.bin", "6146", "5000"}) EXPECT_TRUE(contains(truncated, part));
  folder.write(batch, record({10}, {0, 0, 0}));
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "0 to 9"));
  std::filesystem::remove(folder.path(batch));
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "data_batch_3.bin"));
  folder.write(batch, whole);
  folder.write("cifar-10-batches-bin/test_batch.bin", "short");
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "test_batch.bin"));
}

TEST(Dataset, SaysWhatItLookedForAndWhatItFound) {
  const TemporaryFolder folder;
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path("nothing")); }), "nothing"));
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "data_batch_1.bin"));
  folder.write("notes.txt", "hello");
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "notes.txt"));
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path("notes.txt")); }), "expected a folder"));
}

TEST(ImageFolder, ReadsClassesInTheOrderOfTheirNames) {
  const TemporaryFolder folder;
  folder.write("train/zebra/1.ppm", ppm(5, 7, {250, 250, 250}));
  folder.write("train/ant/b.PPM", ppm(3, 3, {0, 100, 200}));
  folder.write("train/ant/a.ppm", ppm(40, 20, {1, 2, 3}));
  folder.write("train/ant/.DS_Store", "x");
  folder.write("train/ant/readme.txt", "x");
  folder.write("train/.hidden/1.ppm", "x");
  std::filesystem::create_directories(folder.path("train/empty"));
  folder.write("test/zebra/2.ppm", ppm(8, 8, {9, 9, 9}));
  std::int64_t reported = 0;
  const Dataset data = open_dataset(
      folder.path(),
      {.image_size = 8, .threads = 2, .progress = [&](const std::string&, std::int64_t done, std::int64_t) {
         reported = std::max(reported, done);
       }});
  EXPECT_EQ(data.classes, (std::vector<std::string>{"ant", "zebra"}));
  EXPECT_EQ(data.train.labels, (std::vector<std::int32_t>{0, 0, 1}));
  ASSERT_EQ(data.train.pixels.size(), 3U * 8 * 8 * 3);
  EXPECT_EQ(data.train.pixels[0], 1);  // a.ppm before b.PPM
  EXPECT_EQ(data.train.pixels[8 * 8 * 3 + 2], 200);
  EXPECT_EQ(data.remarks.size(), 1U);
  EXPECT_EQ(reported, 3);
  EXPECT_EQ(data.load_test().labels, std::vector<std::int32_t>{1});
}

TEST(ImageFolder, AClassOfTheTestSetMustBeInTheTrainingSet) {
  const TemporaryFolder folder;
  folder.write("train/ant/a.ppm", ppm(4, 4, {1, 2, 3}));
  folder.write("test/bee/a.ppm", ppm(4, 4, {1, 2, 3}));
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "bee"));
}

TEST(ImageFolder, NamesAnUnreadableImageAndLeavesItOutOnRequest) {
  const TemporaryFolder folder;
  folder.write("train/ant/a.ppm", ppm(4, 4, {1, 2, 3}));
  folder.write("train/ant/broken.jpg", "this is no JPEG");
  folder.write("train/bee/a.ppm", ppm(4, 4, {1, 2, 3}));
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "broken.jpg"));
  const Dataset data = open_dataset(folder.path(), {.skip_unreadable = true});
  EXPECT_EQ(data.train.count(), 2);
  ASSERT_FALSE(data.remarks.empty());
  EXPECT_TRUE(contains(data.remarks.back(), "broken.jpg"));
}

TEST(ReadImage, AveragesWhenItShrinksAndKeepsConstants) {
  const TemporaryFolder folder;
  const auto constant = read_image(folder.write("c.ppm", ppm(37, 11, {13, 200, 255})), 16, 16);
  for (std::size_t i = 0; i < constant.size(); ++i) ASSERT_EQ(constant[i], (Pixel{13, 200, 255}[i % 3]));
  std::string stripes = "P5\n64 64\n255\n";  // grey, columns 0 and 200 in turn
  for (int i = 0; i < 64 * 64; ++i) stripes += static_cast<char>(i % 2 ? 200 : 0);
  const auto shrunk = read_image(folder.write("s.pgm", stripes), 8, 8);
  ASSERT_EQ(shrunk.size(), 8U * 8 * 3);
  for (const std::uint8_t value : shrunk) EXPECT_NEAR(value, 100, 8);
  EXPECT_TRUE(contains(message_of([&] { read_image(folder.path("none.png"), 8, 8); }), "none.png"));
}

TEST(Synthetic, IsDrawnFromTheSeed) {
  const auto open = [](std::uint64_t seed) {
    return open_dataset("synthetic", {.seed = seed, .synthetic_train = 500, .synthetic_test = 20});
  };
  const Dataset data = open(1);
  EXPECT_EQ(data.train.pixels, open(1).train.pixels);
  EXPECT_EQ(data.load_test().pixels, open(1).load_test().pixels);
  EXPECT_NE(data.train.pixels, open(2).train.pixels);
  EXPECT_EQ(data.classes.size(), 10U);
  for (std::int32_t label = 0; label < 10; ++label) {
    EXPECT_GE(std::count(data.train.labels.begin(), data.train.labels.end(), label), 25) << label;
  }
}

TEST(Synthetic, IsTooHardForALinearModel) {
  const Dataset data = open_dataset("synthetic", {.synthetic_train = 4000, .synthetic_test = 1000});
  // Every fourth feature of the pixels, averaged over 2x2: 16x16x3, ridge regression on one-hot labels.
  const auto features = [](const Images& images) {
    Eigen::MatrixXd x = Eigen::MatrixXd::Zero(images.count(), 16 * 16 * 3 + 1);
    for (std::int64_t i = 0; i < images.count(); ++i) {
      for (std::int64_t p = 0; p < 3072; ++p) {
        const std::int64_t row = p / 96 / 2, column = p / 3 % 32 / 2;
        x(i, (row * 16 + column) * 3 + p % 3) += images.pixels[static_cast<std::size_t>(i * 3072 + p)] / 1020.0 - 0.125;
      }
      x(i, 16 * 16 * 3) = 1.0;
    }
    return x;
  };
  const Eigen::MatrixXd x = features(data.train);
  Eigen::MatrixXd y = Eigen::MatrixXd::Zero(data.train.count(), 10);
  for (std::int64_t i = 0; i < data.train.count(); ++i) y(i, data.train.labels[static_cast<std::size_t>(i)]) = 1.0;
  Eigen::MatrixXd gram = x.transpose() * x;
  gram.diagonal().array() += 1e-2 * gram.diagonal().mean();
  const Eigen::MatrixXd weights = gram.ldlt().solve(x.transpose() * y);
  const Images test = data.load_test();
  const Eigen::MatrixXd scores = features(test) * weights;
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < test.count(); ++i) {
    Eigen::Index best = 0;
    scores.row(i).maxCoeff(&best);
    right += best == test.labels[static_cast<std::size_t>(i)];
  }
  EXPECT_LT(right, 500);
  EXPECT_GT(right, 50);
}

TEST(Split, HoldsOutTheShareOfEveryClass) {
  std::vector<std::int32_t> labels;
  for (std::int32_t i = 0; i < 1000; ++i) labels.push_back(i % 7 == 0 ? 1 : 0);
  const Split split = stratified_split(labels, 2, 0.1, 5);
  std::set<std::int32_t> all(split.train.begin(), split.train.end());
  all.insert(split.validation.begin(), split.validation.end());
  EXPECT_EQ(all.size(), 1000U);
  EXPECT_EQ(split.train.size() + split.validation.size(), 1000U);
  EXPECT_EQ(std::count_if(split.validation.begin(), split.validation.end(),
                          [&](std::int32_t i) { return labels[static_cast<std::size_t>(i)] == 1; }),
            14);  // 143 images
  EXPECT_EQ(split.validation.size(), 14U + 86U);
  EXPECT_EQ(stratified_split(labels, 2, 0.1, 5).validation, split.validation);
  EXPECT_NE(stratified_split(labels, 2, 0.1, 6).validation, split.validation);
  EXPECT_TRUE(stratified_split(labels, 2, 0.0, 5).validation.empty());
  EXPECT_THROW(stratified_split(labels, 2, 0.6, 5), Error);
  EXPECT_THROW(stratified_split(labels, 2, std::nan(""), 5), Error);
}

}  // namespace
}  // namespace stagewise
