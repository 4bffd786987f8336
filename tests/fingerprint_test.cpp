// What a run was trained on, and what differs when it isn't the same.
#include "datasets/fingerprint.h"

#include <gtest/gtest.h>

#include "tensor/xxh64.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

TEST(Xxh64, GivesTheFiguresOfItsAuthorsLibrary) {
  struct Vector {
    std::size_t count;
    std::uint64_t plain, seeded;
  };
  // By libxxhash, of bytes (37 i + 11) mod 256, seeds 0 and 0x9E3779B1.
  const Vector vectors[] = {
      {0, 0xef46db3751d8e999, 0xac75fda2929b17ef},  {1, 0xf592c0c7639c4cb6, 0xe7fda85a72454615},
      {3, 0x22c08528601d4f27, 0x5cbb7f85404a1f73},  {4, 0xfb1e5cf2f1ae4d95, 0x9994339dd3cf0d91},
      {7, 0x5613ac510496c04e, 0xc53cce27ae03ad38},  {8, 0x57cb2b7521f3e21a, 0xcd44f16c92a699df},
      {14, 0x393648aa0a97d46f, 0x8ba9759ad5801274}, {31, 0xe4a0e629e519a4ae, 0x9fab920ef1fc4e09},
      {32, 0xcc6b8aaada790b2d, 0x881c3285b30b5a93}, {33, 0x35ec49850475a832, 0x207074871e91cb01},
      {63, 0xbf9f0ba3cf95b28a, 0xe28c6289b8031861}, {100, 0x4826e367566ea023, 0xd57c2ea757c17569}};
  std::vector<unsigned char> bytes;
  for (unsigned i = 0; i < 101; ++i) bytes.push_back(static_cast<unsigned char>(i * 37 + 11));
  for (const Vector& vector : vectors) {
    EXPECT_EQ(xxh64(bytes.data(), vector.count), vector.plain) << vector.count;
    EXPECT_EQ(xxh64(bytes.data(), vector.count, 0x9E3779B1), vector.seeded) << vector.count;
  }
}

TEST(Xxh64, IsTheSameWhereverTheBytesAreCut) {
  std::vector<unsigned char> bytes;
  for (unsigned i = 0; i < 200; ++i) bytes.push_back(static_cast<unsigned char>(i * 37 + 11));
  for (std::size_t first = 0; first <= 100; ++first) {
    for (const std::size_t second :
         {std::size_t{0}, std::size_t{1}, std::size_t{31}, std::size_t{32}, std::size_t{95}}) {
      Xxh64 hash(7);
      hash.add(bytes.data(), first);
      hash.add(bytes.data() + first, second);
      hash.add(bytes.data() + first + second, bytes.size() - first - second);
      ASSERT_EQ(hash.digest(), xxh64(bytes.data(), bytes.size(), 7)) << first << ' ' << second;
    }
  }
}

Dataset three_classes() {
  Dataset data{.description = "three", .classes = {"ant", "bee", "cat"}, .train = {.height = 2, .width = 1}};
  for (std::int32_t i = 0; i < 7; ++i) {
    data.train.labels.push_back(i % 3);
    for (int byte = 0; byte < 6; ++byte) data.train.pixels.push_back(static_cast<std::uint8_t>(i * 6 + byte));
  }
  return data;
}

TEST(Fingerprint, IsOfClassesLabelsAndPixels) {
  const Dataset data = three_classes();
  const DataFingerprint was = fingerprint_of(data);
  EXPECT_EQ(was.classes, data.classes);
  EXPECT_EQ(was.counts, (std::vector<std::int64_t>{3, 2, 2}));
  EXPECT_EQ(was.digest.size(), 16U);
  EXPECT_EQ(difference(was, was), "");
  Dataset elsewhere = data;
  elsewhere.description = "the same at another path";
  EXPECT_EQ(fingerprint_of(elsewhere), was);
  for (std::size_t byte = 0; byte < data.train.pixels.size(); ++byte) {  // a bit anywhere
    Dataset changed = data;
    changed.train.pixels[byte] ^= 1;
    EXPECT_EQ(difference(was, fingerprint_of(changed)), "the pixels or labels differ, though the counts agree");
  }
  Dataset swapped = data;
  std::swap(swapped.train.labels[0], swapped.train.labels[1]);
  EXPECT_EQ(difference(was, fingerprint_of(swapped)), "the pixels or labels differ, though the counts agree");
  swapped.train.labels[0] = 3;
  EXPECT_TRUE(contains(message_of([&] { fingerprint_of(swapped); }), "labels from 0 to 2, got 3"));
}

TEST(Fingerprint, SaysWhatDiffers) {
  const DataFingerprint was = fingerprint_of(three_classes());
  const auto after = [&](const std::function<void(Dataset&)>& change) {
    Dataset data = three_classes();
    change(data);
    return difference(was, fingerprint_of(data));
  };
  EXPECT_EQ(after([](Dataset& data) { data.classes[1] = "bees"; }), "class `bee` is gone; class `bees` is new");
  EXPECT_EQ(after([](Dataset& data) { data.classes.push_back("dog"); }), "class `dog` is new");
  EXPECT_EQ(after([](Dataset& data) { data.train.labels[0] = 1; }),
            "class `ant` had 3 images, now 2; class `bee` had 2 images, now 3");
  EXPECT_EQ(after([](Dataset& data) { std::swap(data.classes[1], data.classes[2]); }),
            "the classes' order differs: class 1 was `bee`, now `cat`");
  EXPECT_EQ(after([](Dataset& data) { data.held_out = 2; }), "0 images were held out by the data, now 2");
  EXPECT_EQ(after([](Dataset& data) { std::swap(data.train.height, data.train.width); }),
            "the images were 2x1x3, now 1x2x3");
  DataFingerprint many{.height = 2, .width = 1, .channels = 3};
  for (int i = 0; i < 9; ++i) many.classes.push_back(concat("kind ", i));
  many.counts.resize(9);
  EXPECT_TRUE(contains(difference(was, many), "class `kind 1` is new; and 7 more differences"));
}

}  // namespace
}  // namespace stagewise
