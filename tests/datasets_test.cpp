// Data sets: what is read, what is refused and in which words.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "datasets/dataset.h"
#include "datasets/image_files.h"
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

TEST(Cifar, TakesTheClassesNamesFromTheirFile) {
  const TemporaryFolder folder;
  write_cifar10(folder);
  folder.write("cifar-10-batches-bin/batches.meta.txt", "nought\r\none\ntwo\nthree\n4\n5\n6\n7\n8\nnine\n\n");
  const std::vector<std::string> names = open_dataset(folder.path()).classes;
  EXPECT_EQ(names, (std::vector<std::string>{"nought", "one", "two", "three", "4", "5", "6", "7", "8", "nine"}));
  folder.write("cifar-10-batches-bin/batches.meta.txt", "one\ntwo\n");
  const std::string error = message_of([&] { open_dataset(folder.path()); });
  for (const char* const part : {"batches.meta.txt", "expected 10", "got 2"}) EXPECT_TRUE(contains(error, part));

  const TemporaryFolder fine;
  fine.write("train.bin", record({'\3', 99}, {1, 1, 1}));
  fine.write("test.bin", record({'\3', 42}, {1, 1, 1}));
  std::string text;
  for (int i = 0; i < 100; ++i) text += concat("kind ", i, "\n");
  fine.write("fine_label_names.txt", text);
  EXPECT_EQ(open_dataset(fine.path()).classes.at(99), "kind 99");
}

TEST(Dataset, LeavesTheTestSetUnreadUntilItIsAskedFor) {
  const TemporaryFolder cifar, images;
  write_cifar10(cifar);
  cifar.write("cifar-10-batches-bin/test_batch.bin", record({10}, {0, 0, 0}));  // there is no class 10
  images.write("train/ant/a.ppm", ppm(4, 4, {1, 2, 3}));
  images.write("train/bee/a.ppm", ppm(4, 4, {1, 2, 3}));
  images.write("test/ant/broken.ppm", "this is no image");
  for (const TemporaryFolder* const folder : {&cifar, &images}) {
    Dataset data;
    EXPECT_EQ(message_of([&] { data = open_dataset(folder->path()); }), "no error");
    EXPECT_TRUE(contains(message_of([&] { data.load_test(); }), folder == &cifar ? "test_batch.bin" : "broken.ppm"));
  }
}

TEST(Dataset, LeavesTheTrainingImagesUnreadOnRequest) {
  const TemporaryFolder cifar, images;
  write_cifar10(cifar);
  cifar.write("cifar-10-batches-bin/data_batch_1.bin", "cut short");
  images.write("train/ant/broken.ppm", "this is no image");
  images.write("test/ant/a.ppm", ppm(4, 4, {1, 2, 3}));
  for (const std::string& data : {cifar.path(), images.path(), std::string("synthetic")}) {
    const Dataset dataset = open_dataset(data, {.synthetic_test = 1, .read_train = false});
    EXPECT_EQ(dataset.train.count(), 0) << data;
    EXPECT_EQ(dataset.train.height, 32) << data;
    EXPECT_EQ(dataset.load_test().count(), 1) << data;
    EXPECT_EQ(dataset.description.find("training"), std::string::npos) << dataset.description;
    EXPECT_TRUE(dataset.remarks.empty()) << data;
  }
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

/// A folder of two images for each of these classes, of the colours 10 and 20.
void write_classes(const TemporaryFolder& folder, const std::string& part, const std::vector<std::string>& classes) {
  for (const std::string& name : classes) {
    folder.write(part + "/" + name + "/1.ppm", ppm(4, 4, {10, 10, 10}));
    folder.write(part + "/" + name + "/2.ppm", ppm(4, 4, {20, 20, 20}));
  }
}

TEST(ImageFolder, AClassOfTheOtherPartsMustBeInTheTrainingSet) {
  for (const char* const part : {"test", "val"}) {
    const TemporaryFolder folder;
    write_classes(folder, "train", {"ant", "cat"});
    write_classes(folder, part, {"bee"});
    const std::string error = message_of([&] { open_dataset(folder.path()); });
    EXPECT_TRUE(contains(error, concat(part, "/bee is a class that ")));
  }
}

TEST(ImageFolder, NamesUnreadableImagesAndLeavesThemOutOnRequest) {
  const TemporaryFolder folder;
  write_classes(folder, "train", {"ant", "bee"});
  folder.write("train/ant/broken.jpg", "this is no JPEG");
  folder.write("train/bee/phone.heic", std::string("\0\0\0\x18", 4) + "ftypheic");
  const std::string error = message_of([&] { open_dataset(folder.path()); });
  for (const std::string part : {"2 of 6 images can't be read", "ant/broken.jpg: a text file", "phone.heic: a HEIC",
                                 "\n  --skip-unreadable leaves such images out"}) {
    EXPECT_TRUE(contains(error, part));
  }
  const Dataset data = open_dataset(folder.path(), {.skip_unreadable = true});
  EXPECT_EQ(data.train.labels, (std::vector<std::int32_t>{0, 0, 1, 1}));
  ASSERT_EQ(data.remarks.size(), 1U);
  EXPECT_TRUE(contains(data.remarks[0], "broken.jpg"));
}

TEST(ImageFolder, TellsWhichTestImagesAreLeftOut) {
  const TemporaryFolder folder;
  write_classes(folder, "train", {"ant", "bee"});
  write_classes(folder, "test", {"ant"});
  folder.write("test/ant/broken.png", "");
  std::vector<std::string> told;
  const Dataset data = open_dataset(
      folder.path(), {.skip_unreadable = true, .remark = [&](const std::string& line) { told.push_back(line); }});
  EXPECT_TRUE(data.remarks.empty());
  EXPECT_TRUE(told.empty());
  EXPECT_EQ(data.load_test().count(), 2);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(contains(told[0], "left out: 1 of 3 images can't be read"));
  EXPECT_TRUE(contains(told[0], "broken.png: an empty file"));
}

TEST(ImageFolder, AClassThatLostItsImagesIsAnError) {
  const TemporaryFolder folder;
  write_classes(folder, "train", {"ant", "bee"});
  folder.write("train/cat/only.webp", "RIFF....WEBPVP8 ");
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path(), {.skip_unreadable = true}); }),
                       "of the class `cat` no image is left"));
  std::filesystem::create_directories(folder.path("train/dog"));
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "train/dog holds no images"));
  folder.write("train/dog/notes.txt", "no image either");
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "train/dog holds no images"));
}

TEST(ImageFolder, FindsImagesInDeeperFolders) {
  const TemporaryFolder folder;
  write_classes(folder, "train", {"ant/2024/may", "ant", "bee/a/b/c"});
  folder.write("train/bee/a/.hidden/3.ppm", "hidden");
  const Dataset data = open_dataset(folder.path());
  EXPECT_EQ(data.classes, (std::vector<std::string>{"ant", "bee"}));
  EXPECT_EQ(data.train.labels, (std::vector<std::int32_t>{0, 0, 0, 0, 1, 1}));
  std::filesystem::create_directory_symlink(folder.path("train"), folder.path("train/ant/up"));
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "does a link lead back up?"));
}

TEST(ImageFolder, ItsValidationImagesAreHeldOut) {
  for (const char* const name : {"val", "valid", "validation"}) {
    const TemporaryFolder folder;
    write_classes(folder, "train", {"ant", "bee"});
    folder.write(concat(name, "/bee/deeper/9.ppm"), ppm(4, 4, {99, 99, 99}));
    const Dataset data = open_dataset(folder.path(), {.image_size = 4});
    EXPECT_EQ(data.held_out, 1) << name;
    EXPECT_EQ(data.train.labels, (std::vector<std::int32_t>{0, 0, 1, 1, 1})) << name;
    EXPECT_EQ(data.train.pixels.back(), 99) << name;
    EXPECT_TRUE(contains(data.description, "4 training images, 1 to validate on, 2 classes"));
    EXPECT_EQ(open_dataset(folder.path(), {.read_train = false}).held_out, 0) << name;
  }
  const TemporaryFolder both;
  for (const char* const part : {"train", "val", "valid"}) write_classes(both, part, {"ant", "bee"});
  EXPECT_TRUE(contains(message_of([&] { open_dataset(both.path()); }), "expected one folder of images to validate on"));
}

TEST(ImageFolder, ASingleClassCannotBeLearnt) {
  const TemporaryFolder folder;
  write_classes(folder, "train", {"images"});
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "expected at least two classes"));
  EXPECT_EQ(open_dataset(folder.path(), {.read_train = false}).classes.size(), 1U);
}

TEST(ImageFolder, NamesThatAreNotUtf8AreRefusedOrEscaped) {
  const TemporaryFolder folder, classes;
  write_classes(classes, "train", {"ant", "caf\xE9"});
  classes.write("train/ant/broken.png", "");  // of which nothing is said: this comes first
  const std::string error = message_of([&] { open_dataset(classes.path()); });
  EXPECT_TRUE(contains(error, "names in UTF-8, got " + classes.path("train/caf\\xE9") + ": rename it"));

  write_classes(folder, "train", {"ant", "caf\xC3\xA9"});
  folder.write("train/ant/notes\xFF.txt", "");
  EXPECT_TRUE(contains(open_dataset(folder.path()).remarks.at(0), "notes\\xFF.txt"));
  folder.write("train/ant/z\xE9.png", "");
  EXPECT_TRUE(contains(message_of([&] { open_dataset(folder.path()); }), "z\\xE9.png: an empty file"));

  const TemporaryFolder cifar;
  write_cifar10(cifar);
  cifar.write("cifar-10-batches-bin/batches.meta.txt", "caf\xE9\n");
  EXPECT_TRUE(contains(message_of([&] { open_dataset(cifar.path()); }), "class names in UTF-8, got `caf\\xE9`"));
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

/// The share of the test images that ridge regression gets right: from all pixels to one-hot labels. In the dual form,
/// whose matrix is images x images; `ridge` in shares of its mean diagonal.
double linear_accuracy(const Dataset& data, float ridge) {
  const auto features = [](const Images& images) {
    Eigen::MatrixXf x(images.count(), images.image_bytes() + 1);
    for (std::int64_t i = 0; i < images.count(); ++i) {
      const std::uint8_t* pixels = images.pixels.data() + i * images.image_bytes();
      for (std::int64_t p = 0; p < images.image_bytes(); ++p) x(i, p) = static_cast<float>(pixels[p]) / 255.0F - 0.5F;
      x(i, images.image_bytes()) = 1.0F;
    }
    return x;
  };
  const Eigen::MatrixXf x = features(data.train);
  Eigen::MatrixXf one_hot = Eigen::MatrixXf::Constant(x.rows(), 10, -0.1F);
  for (std::int64_t i = 0; i < data.train.count(); ++i)
    one_hot(i, data.train.labels[static_cast<std::size_t>(i)]) += 1.0F;
  Eigen::MatrixXf kernel = Eigen::MatrixXf::Zero(x.rows(), x.rows());
  kernel.selfadjointView<Eigen::Lower>().rankUpdate(x);
  kernel.diagonal().array() += ridge * kernel.diagonal().mean();
  const Eigen::MatrixXf weights = x.transpose() * kernel.selfadjointView<Eigen::Lower>().llt().solve(one_hot);
  const Images test = data.load_test();
  const Eigen::MatrixXf scores = features(test) * weights;
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < test.count(); ++i) {
    Eigen::Index best = 0;
    scores.row(i).maxCoeff(&best);
    right += best == test.labels[static_cast<std::size_t>(i)] ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(test.count());
}

TEST(Synthetic, IsTooHardForALinearModel) {
  const Dataset data = open_dataset("synthetic", {.synthetic_train = 3000, .synthetic_test = 1000});
  const double accuracy = linear_accuracy(data, 2.0F);  // the best of ridges from 0.001 to 100
  EXPECT_LT(accuracy, 0.5);
  EXPECT_GT(accuracy, 0.15);  // it does learn something: chance is 0.1, with a deviation of 0.01
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

TEST(Split, TrainsOnTheOnlyImageOfAClass) {
  const std::vector<std::int32_t> labels = {0, 1, 0, 0, 2, 2};
  const Split split = stratified_split(labels, 4, 0.5, 5);  // of class 3 there is no image at all
  EXPECT_EQ(std::count(split.train.begin(), split.train.end(), 1), 1);
  EXPECT_EQ(split.validation.size(), 3U);  // two of class 0, one of class 2
  EXPECT_EQ(split.train.size(), 3U);
  EXPECT_EQ(stratified_split({0}, 1, 0.5, 5).train, std::vector<std::int32_t>{0});
  EXPECT_TRUE(contains(message_of([] { stratified_split({}, 2, 0.5, 5); }), "no images"));
}

TEST(Split, RefusesLabelsThatNameNoClass) {
  EXPECT_EQ(message_of([] {
              stratified_split({0, 1, 2}, 2, 0.1, 5);
            }),
            "[split] expected labels from 0 to 1, got 2 for image 2");
  EXPECT_EQ(message_of([] {
              stratified_split({0, -1}, 2, 0.1, 5);
            }),
            "[split] expected labels from 0 to 1, got -1 for image 1");
}

}  // namespace
}  // namespace stagewise
