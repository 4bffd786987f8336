// `stagewise score` and `--hours`, as a person runs them. The paper's networks need CIFAR-10 (STAGEWISE_CIFAR10) and
// the shared reference folder (STAGEWISE_SHARED); what needs them skips where they are absent.
#include <cmath>
#include <cstdlib>
#include <map>
#include <sstream>

#include "tests/program.h"

namespace stagewise {
namespace {

struct Scored {
  std::int64_t depth = 0;
  double score = 0.0, lower = 0.0, upper = 0.0;
};

class ScoreProgram : public Program {
 protected:
  /// The file's rows, by criterion and stage.
  std::map<std::pair<std::string, int>, Scored> rows_of(const std::string& csv) const {
    std::istringstream lines(read_file(path(csv)));
    std::string line;
    std::getline(lines, line);
    EXPECT_EQ(line, "stage,depth,criterion,score,lower,upper");
    std::map<std::pair<std::string, int>, Scored> rows;
    while (std::getline(lines, line)) {
      std::replace(line.begin(), line.end(), ',', ' ');
      std::istringstream cells(line);
      std::string criterion;
      int stage = 0;
      Scored row;
      cells >> stage >> row.depth >> criterion >> row.score >> row.lower >> row.upper;
      EXPECT_TRUE(cells) << line;
      EXPECT_TRUE(rows.emplace(std::pair(criterion, stage), row).second) << line;
    }
    return rows;
  }

  std::map<std::pair<std::string, int>, Scored> scores_of(const Arguments& arguments) const {
    Arguments whole = {"score", "--quiet", "--csv", "scores.csv"};
    whole.insert(whole.end(), arguments.begin(), arguments.end());
    const Result result = run(whole);
    EXPECT_EQ(result.code, 0) << result.error;
    return rows_of("scores.csv");
  }

  /// One epoch of a small network on small data; `more` says which.
  void train(const std::string& out, const Arguments& more) const {
    Arguments whole = {"train", "--quiet",      "--out", out, "--epochs", "1", "--synthetic-test",
                       "20",    "--batch-size", "20"};
    whole.insert(whole.end(), more.begin(), more.end());
    const Result result = run(whole);
    ASSERT_EQ(result.code, 0) << result.error;
  }
};

TEST_F(ScoreProgram, EveryCriterionScoresEveryStageWithAnInterval) {
  train("r", {"--validation", "0.2", "--blocks", "2,1", "--synthetic-train", "100"});
  const Result result = run({"score", "r", "--csv", "scores.csv"});
  ASSERT_EQ(result.code, 0) << result.error;
  const auto rows = rows_of("scores.csv");
  for (const char* criterion : {"vip", "r2y", "probe", "random", "uniform"}) {
    for (int stage = 1; stage <= 2; ++stage) {
      ASSERT_TRUE(rows.contains({criterion, stage})) << criterion;
      const Scored& row = rows.at({criterion, stage});
      EXPECT_EQ(row.depth, 3 - stage);
      EXPECT_LE(row.lower, row.score) << criterion;
      EXPECT_GE(row.upper, row.score) << criterion;
      const bool looks = std::string(criterion) != "random" && std::string(criterion) != "uniform";
      EXPECT_EQ(row.upper > row.lower, looks) << criterion;
    }
  }
  // A stage of one block has none to spare.
  EXPECT_TRUE(rows.contains({"ablation", 1}));
  EXPECT_EQ(rows.size(), 11U);
  EXPECT_EQ(rows.at({"uniform", 1}).score, 2.0);
  EXPECT_TRUE(contains(result.out, "images are held out for probe"));
  EXPECT_TRUE(contains(result.out, "never trained on"));
}

TEST_F(ScoreProgram, SaysWhatTheHeldOutImagesAreWorth) {
  train("none", {"--blocks", "1,1", "--synthetic-train", "100"});
  const Result none = run({"score", "none"});
  EXPECT_TRUE(contains(none.out, "No images are held out")) << none.out << none.error;
  EXPECT_FALSE(contains(none.out, "  probe"));
  expect_refused({"score", "none", "--criterion", "probe"}, "--validation");
  expect_refused({"score", "none", "--criterion", "ablation"}, "--validation");
  EXPECT_TRUE(contains(run({"score", "none", "--validation", "0.1"}).out, "has trained on them"));
  EXPECT_TRUE(contains(run({"score", "none/model.safetensors", "--synthetic-train", "100"}).out, "is not known"));
  const Result searched = run(small("search", "s", {"--grow-to", "2,2"}));
  ASSERT_EQ(searched.code, 0) << searched.error;
  EXPECT_TRUE(contains(run({"score", "s"}).out, "joined its training at the end"));
}

TEST_F(ScoreProgram, FewerImagesWidenTheIntervals) {
  train("r", {"--blocks", "1,1", "--synthetic-train", "600"});
  const auto all = scores_of({"r", "--criterion", "r2y"}),
             few = scores_of({"r", "--criterion", "r2y", "--images", "100"});
  ASSERT_EQ(all.size(), 2U);
  const Scored many = all.at({"r2y", 1}), fewer = few.at({"r2y", 1});
  EXPECT_GT(fewer.upper - fewer.lower, many.upper - many.lower);
}

TEST_F(ScoreProgram, RefusesWhatItCantScore) {
  train("r", {"--blocks", "1,1", "--synthetic-train", "100"});
  expect_refused({"score", "r", "--criterion", "wishes"}, "there is no `wishes`");
  expect_refused({"score", "nowhere"}, "nowhere");
  expect_refused({"score", "r", "--variant", "paper"}, "standard");
}

TEST_F(ScoreProgram, HoursBecomeWorkThatStandsInTheConfig) {
  Arguments arguments = small("train", "timed");
  arguments.erase(std::find(arguments.begin(), arguments.end(), "--epochs"), arguments.begin() + 5);
  arguments.insert(arguments.end(), {"--hours", "0.001"});
  const Result result = run(arguments);
  ASSERT_EQ(result.code, 0) << result.error;
  const std::string config = read_file(path("timed/config.toml"));
  EXPECT_FALSE(contains(config, "hours"));
  EXPECT_FALSE(contains(config, "\nwork = 0\n") || contains(config, "\nwork = \"0\"\n")) << config;
  // What was measured once is not measured again.
  const Result again = run({"train", "--config", "timed/config.toml", "--quiet", "--out", "again"});
  ASSERT_EQ(again.code, 0) << again.error;
  EXPECT_EQ(model("timed"), model("again"));
  expect_refused({"train", "--hours", "1", "--work", "1e9"}, "--work");
  expect_refused({"train", "--hours", "1", "--epochs", "2"}, "--epochs");
  expect_refused({"train", "--hours", "1", "--resume", "timed"}, "--resume");
}

// Of scikit-learn, over all 50,000 images (shared/reference/released/README.md).
constexpr double kVip[] = {0.913145, 0.936522, 0.934953}, kR2y[] = {0.103070, 0.122676, 0.152312};

class ReleasedScores : public ScoreProgram {
 protected:
  void SetUp() override {
    const char* const cifar10 = std::getenv("STAGEWISE_CIFAR10");
    const char* const shared = std::getenv("STAGEWISE_SHARED");
    model_ = std::string(shared != nullptr ? shared : STAGEWISE_SOURCE_DIR "/../shared") +
             "/reference/released/iteration1.safetensors";
    if (cifar10 == nullptr) GTEST_SKIP() << "set STAGEWISE_CIFAR10 to the folder that holds cifar-10-batches-bin";
    if (!fs::exists(model_)) GTEST_SKIP() << "no " << model_ << ": set STAGEWISE_SHARED";
    data_ = fs::absolute(cifar10);
    model_ = fs::absolute(model_);
  }

  std::string model_, data_;
};

TEST_F(ReleasedScores, IntervalsOfFewImagesHoldThePublishedFigures) {
  for (const bool vip : {true, false}) {
    const std::string criterion = vip ? "vip" : "r2y";
    const auto rows = scores_of({model_, "--variant", "paper", "--data", data_, "--validation", "0", "--criterion",
                                 criterion, "--images", "2000"});
    for (int stage = 1; stage <= 3; ++stage) {
      const double published = (vip ? kVip : kR2y)[stage - 1];
      const Scored row = rows.at({criterion, stage});
      // Six intervals of 95% each: half as wide again, so that none fails by chance.
      const double half = 1.5 * (row.upper - row.score);
      EXPECT_NEAR(row.score, published, half) << criterion << " of stage " << stage;
      EXPECT_LT(half, 0.1 * published) << criterion << " of stage " << stage;
    }
  }
}

}  // namespace
}  // namespace stagewise
