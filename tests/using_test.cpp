// What is done with a finished network, as a person does it: predict, evaluate on other data, train on.
#include <pty.h>

#include <nlohmann/json.hpp>

#include "search/run/terminal.h"
#include "tests/picture_files.h"
#include "tests/program.h"

namespace stagewise {
namespace {

using picture_files::ppm;

/// A network that was taught two colours.
class Using : public Program {
 protected:
  void SetUp() override {
    for (int i = 0; i < 6; ++i) {
      const auto shade = static_cast<std::uint8_t>(20 * i);
      const std::string file = concat('/', i, ".ppm");
      for (const char* const part : {"train", "test"}) {
        folder_.write(concat("photos/", part, "/red", file), coloured({255, shade, 0}));
        folder_.write(concat("photos/", part, "/blue", file), coloured({0, shade, 255}));
      }
    }
    ASSERT_EQ(run({"train", "--data", "photos", "--image-size", "8", "--blocks", "1", "--epochs", "4", "--out", "r",
                   "--quiet"})
                  .code,
              0);
  }

  /// 9 x 4 pixels, a grey bar on the left.
  static std::string coloured(const std::vector<std::uint8_t>& colour) {
    std::vector<std::uint8_t> pixels;
    for (int i = 0; i < 4 * 9; ++i) {
      for (const std::uint8_t channel : colour) pixels.push_back(i % 9 < 3 ? 128 : channel);
    }
    return ppm(9, 4, pixels);
  }

  static std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }

  /// The program, with a file as its standard input.
  Result run_reading(const std::string& input, const Arguments& arguments) const {
    std::string command = "cd '" + folder_.path() + "' && '" + fs::absolute(STAGEWISE_PROGRAM).string() + "'";
    for (const std::string& argument : arguments) command += " '" + argument + "'";
    const int status = std::system((command + " <'" + input + "' >out.txt 2>error.txt").c_str());
    return {.code = WEXITSTATUS(status), .out = read_file(path("out.txt")), .error = read_file(path("error.txt"))};
  }
};

/// Of the two ends of a terminal made here, the program's.
TEST(Terminal, HasColoursWhereItIsOneThatWantsThem) {
  int ours = -1, programs = -1;
  ASSERT_EQ(openpty(&ours, &programs, nullptr, nullptr, nullptr), 0);
  const std::string drawing = "stage  █▓ 2 blocks";
  unsetenv("NO_COLOR");
  setenv("TERM", "xterm", 1);
  EXPECT_TRUE(may_colour(programs));
  EXPECT_EQ(painted(drawing, programs), "stage  \033[34m█\033[0m\033[32m▓\033[0m 2 blocks");
  setenv("NO_COLOR", "1", 1);
  EXPECT_EQ(painted(drawing, programs), drawing);
  setenv("NO_COLOR", "", 1);
  EXPECT_TRUE(may_colour(programs)) << "no-color.org: when present and not an empty string";
  setenv("TERM", "dumb", 1);
  EXPECT_FALSE(may_colour(programs));
  setenv("TERM", "xterm", 1);
  const int file = open("/dev/null", O_WRONLY);
  EXPECT_FALSE(may_colour(file));
  for (const int stream : {ours, programs, file}) close(stream);
}

TEST_F(Using, PredictTakesFilesFoldersListsAndStandardInput) {
  const Result folder = run({"predict", "r", "photos/test/red", "photos/test/blue/3.ppm", "--format", "csv"});
  EXPECT_EQ(folder.code, 0) << folder.error;
  const std::vector<std::string> lines = lines_of(folder.out);
  ASSERT_EQ(lines.size(), 8U) << folder.out;
  EXPECT_EQ(lines[0], "file,class,probability");
  for (std::size_t i = 0; i < 6; ++i) EXPECT_TRUE(lines[i + 1].starts_with(concat("photos/test/red/", i, ".ppm,red,")));
  EXPECT_TRUE(lines[7].starts_with("photos/test/blue/3.ppm,blue,"));

  folder_.write("list.txt", "photos/test/red/1.ppm\r\n\nphotos/test/blue\n");
  const Result listed = run({"predict", "r", "--list", "list.txt", "--format", "csv"});
  EXPECT_EQ(lines_of(listed.out).size(), 8U) << listed.error;
  EXPECT_EQ(lines_of(listed.out)[1], lines[2]) << "a batch of others changes nothing";
  EXPECT_EQ(run_reading("list.txt", {"predict", "r", "--list", "-", "--format", "csv"}).out, listed.out);
  const Result picture = run_reading("photos/test/red/1.ppm", {"predict", "r", "-", "--format", "csv"});
  EXPECT_EQ(lines_of(picture.out)[1], "-" + lines[2].substr(lines[2].find(','))) << picture.error;
  EXPECT_EQ(run_reading("list.txt", {"predict", "r", "-"}).code, 2);
  EXPECT_TRUE(contains(run_reading("list.txt", {"predict", "r", "-"}).error, "standard input: a text file"));
}

TEST_F(Using, PredictSpeaksJson) {
  const Result result =
      run({"predict", "r", "photos/test/red/0.ppm", "gone.png", "photos/test/blue/0.ppm", "--format", "jsonl"});
  EXPECT_EQ(result.code, 2);
  EXPECT_TRUE(contains(result.error, "gone.png"));
  const std::vector<std::string> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 2U);
  const auto answer = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(answer.at("file"), "photos/test/blue/0.ppm");
  EXPECT_EQ(answer.at("class"), "blue");
  const double blue = answer.at("probabilities").at("blue"), red = answer.at("probabilities").at("red");
  EXPECT_NEAR(blue + red, 1.0, 1e-6);
}

TEST_F(Using, PredictRefusesWhatItCannotAnswer) {
  fs::create_directories(path("empty"));
  expect_refused({"predict", "r"}, "expected pictures");
  expect_refused({"predict", "r", "empty"}, "holds no images");
  expect_refused({"predict", "r", "--list", "gone.txt"}, "can't read gone.txt");
  expect_refused({"predict", "r", "-", "--list", "-"}, "standard input can be read once");
  expect_refused({"predict", "r", "photos/test", "--format", "xml"}, "expected text, csv or jsonl");
  expect_refused({"predict", "r", "photos/test", "--calibrate", "held-out"}, "held no images out");
  expect_refused({"predict", "r/model.safetensors", "photos/test", "--calibrate", "held-out"}, "is no run's folder");
  expect_refused({"predict", "r", "photos/test", "--calibrate", "empty"}, "looked in");
}

/// The two sides of a picture are averaged, so it is its own mirror image's answer.
TEST_F(Using, FlipAveragesOverTheMirrorImage) {
  std::vector<std::uint8_t> left(8 * 8 * 3), right(left.size());
  for (std::size_t i = 0; i < 64; ++i) {
    left[3 * i] = i % 8 < 4 ? 255 : 10;
    left[3 * i + 2] = static_cast<std::uint8_t>(3 * i);
    for (std::size_t c = 0; c < 3; ++c) right[3 * (8 * (i / 8) + 7 - i % 8) + c] = left[3 * i + c];
  }
  folder_.write("left.ppm", ppm(8, 8, left));
  folder_.write("right.ppm", ppm(8, 8, right));
  const auto red = [&](const std::string& file, const Arguments& more) {
    Arguments arguments = {"predict", "r", file, "--format", "jsonl"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = run(arguments);
    if (!more.empty()) EXPECT_TRUE(contains(result.error, "mirror image"));
    return nlohmann::json::parse(result.out).at("probabilities").at("red").get<double>();
  };
  EXPECT_NE(red("left.ppm", {}), red("right.ppm", {}));
  EXPECT_NEAR(red("left.ppm", {"--flip"}), red("right.ppm", {"--flip"}), 1e-6);
  EXPECT_NEAR(red("left.ppm", {"--flip"}), 0.5 * (red("left.ppm", {}) + red("right.ppm", {})), 1e-6);
}

TEST_F(Using, CalibrationIsFittedOnImagesThatTheNetworkNeverSaw) {
  ASSERT_EQ(run(small("train", "kept", {"--validation", "0.2"})).code, 0);
  ASSERT_EQ(run(small("search", "joined", {"--grow-to", "2,2", "--validation", "0.2"})).code, 0);
  const Result kept = run({"predict", "kept", "photos/test/red/1.ppm", "--calibrate", "held-out"});
  EXPECT_EQ(kept.code, 0) << kept.error;
  EXPECT_TRUE(contains(kept.error, "Calibrated on 18 images: temperature ")) << kept.error;
  expect_refused({"predict", "joined", "photos/test/red/1.ppm", "--calibrate", "held-out"},
                 "trained on its held-out images in the end");
  const Result other = run({"predict", "r", "photos/test/red/1.ppm", "--calibrate", "photos"});
  EXPECT_TRUE(contains(other.error, "Calibrated on 12 images")) << other.error;
}

TEST_F(Using, EvaluateMapsClassesByName) {
  const auto right_of = [&](const Result& result) { return lines_of(result.out).back(); };
  ASSERT_EQ(right_of(run({"evaluate", "r", "--quiet"})), "12 of 12 right (100.00%)");
  fs::rename(path("photos/test"), path("alone"));
  EXPECT_EQ(right_of(run({"evaluate", "r", "--data", "alone", "--quiet"})), "12 of 12 right (100.00%)");
  fs::remove_all(path("alone/blue"));
  const Result one = run({"evaluate", "r", "--data", "alone"});
  EXPECT_EQ(right_of(one), "6 of 6 right (100.00%)") << one.error;
  EXPECT_TRUE(contains(one.error, "no images of the network's class `blue`"));
  folder_.write("alone/green/1.ppm", coloured({0, 255, 0}));
  folder_.write("alone/amber/1.ppm", coloured({255, 128, 0}));
  const Result more = run({"evaluate", "r", "--data", "alone", "--quiet", "--predictions", "said.csv"});
  EXPECT_EQ(right_of(more), "6 of 6 right (100.00%)") << more.error;
  EXPECT_TRUE(contains(more.error, "left out, since the network doesn't know the class: `amber`, `green`"));
  EXPECT_EQ(lines_of(folder_.read("said.csv")).size(), 7U);
  EXPECT_TRUE(contains(folder_.read("said.csv"), "\n0,1,1,")) << "the network's label of `red`";
  fs::remove_all(path("alone/red"));
  expect_refused({"evaluate", "r", "--data", "alone"}, "knows none of the data's classes `amber`, `green`");
}

TEST_F(Using, RetrainDrawsTheWeightsAnewOrGoesOnFromThem) {
  const Result scratch = run({"retrain", "r", "--epochs", "1", "--out", "scratch"});
  ASSERT_EQ(scratch.code, 0) << scratch.error;
  EXPECT_TRUE(contains(scratch.error, "learning rate up to 0.025"));  // batches of 8
  const Result weights = run({"retrain", "r", "--weights", "--epochs", "1", "--learning-rate", "1e-9", "--out", "on"});
  ASSERT_EQ(weights.code, 0) << weights.error;
  const auto stem = [&](const std::string& run) {
    const auto entry = read_safetensors(path(run + "/model.safetensors")).tensors.at("stem.conv.weight");
    std::vector<float> values(entry.bytes.size() / sizeof(float));
    std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    return values;
  };
  const std::vector<float> before = stem("r"), anew = stem("scratch"), after = stem("on");
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(before[i], after[i], 1e-6);
  EXPECT_NE(before, anew);
  EXPECT_TRUE(contains(folder_.read("on/config.toml"), "\nfrom = \"" + path("r") + "\"\n"));
  EXPECT_TRUE(contains(folder_.read("on/config.toml"), "image-size = 8\n")) << "the run's";
  EXPECT_TRUE(contains(run({"retrain", "r", "--weights", "--epochs", "1", "--out", "tenth"}).error,
                       "learning rate up to 0.0025"));
}

TEST_F(Using, RetrainGoesOnAfterItWasStopped) {
  const Arguments all = {"retrain", "r", "--weights", "--epochs", "300", "--out", "whole", "--quiet"};
  ASSERT_EQ(run(all).code, 0);
  Arguments again = all;
  again[6] = "stopped";
  const pid_t child = start(again);
  ASSERT_TRUE(wait_for_lines(child, "stopped", 20));
  kill(child, SIGINT);
  const Result stopped = finish(child);
  EXPECT_EQ(stopped.code, 130);
  EXPECT_TRUE(contains(stopped.error, "stagewise train --resume stopped")) << stopped.error;
  fs::rename(path("r"), path("elsewhere"));  // its weights are in the checkpoint now
  ASSERT_EQ(run({"train", "--resume", "stopped", "--quiet"}).code, 0);
  EXPECT_EQ(model("stopped"), model("whole"));
}

TEST_F(Using, RetrainRefusesAnotherNetworkAndOtherClasses) {
  expect_refused({"retrain"}, "expected the run whose network");
  expect_refused({"retrain", "gone"}, "gone");
  expect_refused({"retrain", "r", "--blocks", "2"}, "--blocks can't be given");
  expect_refused({"train", "--from", "r", "--blocks", "2", "--data", "photos"}, "holds a network with --blocks 1");
  expect_refused({"retrain", "r", "--weights", "--data", "synthetic", "--out", "x"}, "[--from]");
  expect_refused({"retrain", "r", "--weights", "--image-size", "16", "--out", "x"}, "for images 8x8x3");
  fs::copy(path("r/model.safetensors"), path("alone.safetensors"));
  EXPECT_EQ(run({"retrain", "alone.safetensors", "--image-size", "8", "--epochs", "1", "--quiet", "--out", "y"}).code,
            0)
      << "the file says what it was trained on";
  EXPECT_FALSE(fs::exists(path("x")));
}

}  // namespace
}  // namespace stagewise
