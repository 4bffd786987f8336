// The field's networks as a person asks for them: described, trained, grown, gone on with, used on images.
#include <algorithm>

#include "search/run/text.h"
#include "tests/picture_files.h"
#include "tests/program.h"

namespace stagewise {
namespace {

class Networks : public Program {};

TEST_F(Networks, AreDescribedByName) {
  const Result described = run({"describe", "--network", "resnet50", "--graph"});
  ASSERT_EQ(described.code, 0) << described.error;
  for (const char* part :
       {"ResNet 3,4,6,3, standard, bottleneck blocks, imagenet stem, images 224x224x3, 1,000 classes",
        "25,557,032 trainable", "4089.2 M MACs", "maximum of 3x3, stride 2", "stages.3.blocks.2",
        "3x3 conv 512 to 512"}) {
    EXPECT_TRUE(contains(described.out, part)) << part << '\n' << described.out;
  }
  const Result smaller = run({"describe", "--network", "wrn-28-10", "--classes", "100", "--image-size", "64"});
  EXPECT_TRUE(contains(smaller.out, "pre-activation blocks, images 64x64x3, 100 classes")) << smaller.out;
  EXPECT_TRUE(contains(smaller.out, "36,536,884 trainable")) << "ten times 641 more: " << smaller.out;
  const Result same = run({"describe", "--blocks", "4,4,4", "--block-kind", "pre-activation", "--widths",
                           "16,160,320,640", "--classes", "100", "--image-size", "64"});
  EXPECT_EQ(same.out, smaller.out);
}

TEST_F(Networks, ThatAreNoneAreRefused) {
  expect_refused({"describe", "--network", "resnet19"}, "resnet20, resnet32");
  expect_refused({"describe", "--network", "resnet50", "--blocks", "1,1"}, "--blocks");
  expect_refused({"describe", "--blocks", "1,1", "--widths", "8"}, "a width for each of 2 stages");
  expect_refused({"describe", "--blocks", "1,1", "--widths", "8,x"}, "[--widths]");
  expect_refused({"describe", "--blocks", "1,1", "--block-kind", "inverted"}, "pre-activation-bottleneck");
  expect_refused({"describe", "--blocks", "1", "--variant", "paper", "--stem", "imagenet"}, "the paper variant has");
  expect_refused({"describe", "--blocks", "1,1", "--widths", "16,8", "--shortcut", "padding"}, "don't lose channels");
  expect_refused({"train", "--network", "resnet50", "--block-kind", "basic", "--out", "x"},
                 "resnet50 is a network with --block-kind bottleneck");
  expect_refused({"train", "--data", "synthetic", "--stem", "imagenet", "--blocks", "1,1,1,1,1,1", "--out", "x"},
                 "a stem that quarters them");
  EXPECT_FALSE(fs::exists(path("x")));
}

/// Grown, stopped in the middle and gone on with: the bits of never having stopped, and a page of it.
TEST_F(Networks, OfPreActivationGrowAndGoOnToTheSameBits) {
  const Arguments kind{"--block-kind", "pre-activation-bottleneck", "--widths", "4,6", "--grow-to", "2,2"};
  ASSERT_EQ(run(small("search", "whole", kind)).code, 0);
  EXPECT_TRUE(contains(read_file(path("whole/architecture.json")), R"("block":"pre-activation-bottleneck")"));
  EXPECT_TRUE(contains(read_file(path("whole/summary.txt")), "pre-activation-bottleneck blocks"));
  EXPECT_TRUE(contains(read_file(path("whole/journal.jsonl")), "insert"));
  const Arguments stopped = small("search", "stopped", kind);
  const pid_t child = start(stopped);
  if (wait_for_lines(child, "stopped", 4)) kill(child, SIGINT);
  finish(child);
  ASSERT_EQ(run({"search", "--resume", "stopped", "--quiet"}).code, 0);
  EXPECT_EQ(model("stopped"), model("whole"));
  ASSERT_EQ(run({"search", "--config", "whole/config.toml", "--out", "again", "--quiet"}).code, 0);
  EXPECT_EQ(model("again"), model("whole"));
  expect_tidy("whole");
  // Its network trains on elsewhere, whatever the options of that training would be.
  ASSERT_EQ(run({"retrain", "whole", "--epochs", "1", "--out", "on", "--weights", "--quiet"}).code, 0);
  EXPECT_TRUE(contains(read_file(path("on/config.toml")), "widths = \"4,6\"\n"));
  EXPECT_EQ(run({"evaluate", "on"}).code, 0);
}

TEST_F(Networks, OfLargeImagesTrainAndPredict) {
  const auto photo = [](int shade) {
    return picture_files::png(40, 30, [=](int column, int row) {
      return std::vector<std::uint32_t>{static_cast<std::uint32_t>(6 * column), static_cast<std::uint32_t>(8 * row),
                                        static_cast<std::uint32_t>(shade)};
    });
  };
  for (int i = 0; i < 3; ++i) {
    folder_.write(concat("photos/train/a/", i, ".png"), photo(i));
    folder_.write(concat("photos/train/b/", i, ".png"), photo(255 - i));
  }
  const auto train = [&](const std::string& out, const Arguments& network) {
    Arguments arguments{"train", "--data", "photos", "--epochs", "1", "--batch-size", "3", "--out", out, "--quiet"};
    arguments.insert(arguments.end(), network.begin(), network.end());
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 0) << result.error;
  };
  train("r", {"--blocks", "1,1", "--stem", "imagenet", "--widths", "4,8", "--image-size", "224"});
  EXPECT_TRUE(contains(read_file(path("r/architecture.json")), R"("height":224,"width":224)"));
  train("small", {"--network", "wrn-16-4", "--image-size", "8"});
  const std::string config = read_file(path("small/config.toml"));
  for (const char* line : {"network = \"wrn-16-4\"\n", "blocks = \"2,2,2\"\n", "block-kind = \"pre-activation\"\n",
                           "widths = \"16,64,128,256\"\n", "image-size = 8\n"}) {
    EXPECT_TRUE(contains(config, line));
  }
  const Result predicted = run({"predict", "r", "photos/train/a/1.png", "--top", "1"});
  EXPECT_EQ(predicted.code, 0) << predicted.error;
  EXPECT_TRUE(contains(predicted.out, "1.png: ")) << predicted.out;
}

}  // namespace
}  // namespace stagewise
