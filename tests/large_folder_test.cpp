// The program on a folder that is left in its files: as if it were in memory, and after a kill.
#include "search/checkpoint.h"
#include "tensor/random.h"
#include "tests/picture_files.h"
#include "tests/program.h"

namespace stagewise {
namespace {

class LargeFolder : public Program {
 protected:
  void SetUp() override {
    for (const std::string part :
         {"photos/train/dark/", "photos/train/light/", "photos/test/dark/", "photos/test/light/"}) {
      for (std::uint64_t i = 0; i < 20; ++i) {
        const Random random(i, stream_of(part.c_str()));
        const auto floor = static_cast<std::uint8_t>(part.find("dark") == std::string::npos ? 90 : 30);
        std::vector<std::uint8_t> pixels;
        for (std::uint64_t p = 0; p < 10 * 12 * 3; ++p) {
          pixels.push_back(static_cast<std::uint8_t>(floor + random.below(p, 100)));
        }
        folder_.write(part + std::to_string(i) + ".ppm", picture_files::ppm(10, 12, pixels));
      }
    }
  }

  static Arguments training(const std::string& out, const Arguments& more = {}) {
    Arguments arguments = {"train",    "--data", "photos",  "--image-size", "8", "--blocks",     "1,1",
                           "--epochs", "6",      "--quiet", "--batch-size", "8", "--validation", "0.2",
                           "--out",    out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  /// Of the run's last checkpoint: batches done of the epoch that it was written in.
  std::int64_t batches_done(const std::string& run) const {
    const std::string file = path(run + "/checkpoint.safetensors");
    return fs::exists(file) ? read_checkpoint(file).state.position.batch : 0;
  }
};

TEST_F(LargeFolder, TrainsToTheSameBitsWhateverTheCacheAndTheThreads) {
  ASSERT_EQ(run(training("memory")).code, 0);
  const std::vector<Arguments> ways = {{"--cache", "off", "--threads", "1"},
                                       {"--cache", "off", "--threads", "2"},
                                       {"--cache", "2k", "--threads", "4"},
                                       {"--cache", "8k", "--threads", "2"}};
  for (std::size_t way = 0; way < ways.size(); ++way) {
    const std::string out = concat("files-", way);
    const Result result = run(training(out, ways[way]));
    ASSERT_EQ(result.code, 0) << result.error;
    EXPECT_EQ(model(out), model("memory"));
    EXPECT_EQ(read_file(path(out + "/test_predictions.csv")), read_file(path("memory/test_predictions.csv")));
  }
  EXPECT_EQ(run({"evaluate", "memory", "--quiet", "--cache", "off"}).out, run({"evaluate", "memory", "--quiet"}).out);
  const Arguments score = {"score", "memory", "--criterion", "vip", "--quiet"};
  const std::string scores = run(score).out;
  EXPECT_FALSE(scores.empty());
  EXPECT_EQ(run({"score", "memory", "--criterion", "vip", "--quiet", "--cache", "off"}).out, scores);
  expect_refused(training("x", {"--cache", "much"}), "expected auto, off, or bytes such as 800M or 4G, got `much`");
}

TEST_F(LargeFolder, KilledInTheMiddleOfAnEpochItGoesOnToTheSameBits) {
  ASSERT_EQ(run(training("whole")).code, 0);
  std::int64_t stopped_at = 0;
  for (int attempt = 0; stopped_at == 0 && attempt < 20; ++attempt) {
    const std::string out = concat("killed-", attempt);
    const pid_t child = start(training(out, {"--cache", "off", "--save-minutes", "0"}));
    while (batches_done(out) == 0 && waitpid(child, nullptr, WNOHANG) == 0) {
    }
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    stopped_at = batches_done(out);
    if (stopped_at == 0) continue;  // it was just between two epochs
    const Result result = run({"train", "--resume", out, "--quiet", "--cache", "4k", "--threads", "3"});
    EXPECT_EQ(result.code, 0) << result.error;
    EXPECT_EQ(model(out), model("whole"));
  }
  EXPECT_GT(stopped_at, 0);
}

TEST_F(LargeFolder, APhotographThatIsGoneLaterIsNamed) {
  ASSERT_EQ(run(training("r")).code, 0);
  folder_.write("photos/test/light/7.ppm", "P6\n1");
  const Result result = run({"evaluate", "r", "--cache", "off"});
  EXPECT_EQ(result.code, 2);
  EXPECT_TRUE(contains(result.error, "photos/test/light/7.ppm"));
  EXPECT_EQ(run({"evaluate", "r", "--cache", "off", "--skip-unreadable", "--quiet"}).code, 0);
}

}  // namespace
}  // namespace stagewise
