// `stagewise sweep`, `compare` and kept predictions, as a person runs them.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "search/report/finished_run.h"
#include "search/training/predictions.h"
#include "tensor/atomic_file.h"
#include "tests/program.h"

namespace stagewise {
namespace {

class SweepProgram : public Program {
 protected:
  /// A sweep file of two arms with two seeds, and what else is in [common] and the second arm.
  std::string sweep(const std::string& common = "epochs = 2\n", const std::string& second = "blocks = [1, 1]\n") const {
    folder_.write("sweep.toml",
                  "out = \"s\"\nseeds = [1, 2]\n[common]\nsynthetic-train = 60\nsynthetic-test = 20\n"
                  "batch-size = 20\n" +
                      common +
                      "[arms.one]\ncommand = \"train\"\nblocks = [1]\n[arms.another]\ncommand = "
                      "\"train\"\n" +
                      second);
    return "sweep.toml";
  }

  void expect_refused(const std::string& text, const std::string& message) const {
    folder_.write("bad.toml", text);
    const Result result = run({"sweep", "bad.toml"});
    EXPECT_EQ(result.code, 2) << text << result.error;
    EXPECT_TRUE(contains(result.error, message)) << text;
    EXPECT_FALSE(fs::exists(path("s"))) << text;
  }

  std::ptrdiff_t lines_of(const std::string& name) const {
    const std::string text = folder_.read(name);
    return std::count(text.begin(), text.end(), '\n');
  }

  template <class Condition>
  bool wait_until(const Condition& condition) const {
    for (int i = 0; i < 30'000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }
};

TEST_F(SweepProgram, RunsEverySeedOfEveryArmAndPrintsOneTable) {
  const Result first = run({"sweep", sweep()});
  ASSERT_EQ(first.code, 0) << first.error;
  EXPECT_EQ(lines_of("s/sweep.csv"), 5);
  std::size_t at = 0;  // whole seeds first
  for (const char* row : {"\none,1,1,", "\nanother,1,\"1,1\",", "\none,2,1,", "\nanother,2,\"1,1\","}) {
    const std::size_t found = folder_.read("s/sweep.csv").find(row, at);
    ASSERT_NE(found, std::string::npos) << row << folder_.read("s/sweep.csv");
    at = found;
  }
  EXPECT_TRUE(contains(first.out, "Means over seeds"));
  EXPECT_EQ(first.error, "");  // no terminal: no progress

  // The runs are the ones that the command would have made by itself.
  ASSERT_EQ(run({"train", "--synthetic-train", "60", "--synthetic-test", "20", "--batch-size", "20", "--epochs", "2",
                 "--blocks", "1,1", "--seed", "2", "--quiet", "--out", "by-hand"})
                .code,
            0);
  EXPECT_EQ(folder_.read("by-hand/model.safetensors"), folder_.read("s/another/seed-2/model.safetensors"));

  const auto record = read_run(path("s/another/seed-2"));
  ASSERT_TRUE(record.has_value());
  ASSERT_TRUE(record->test_accuracy && record->macs && record->work);
  EXPECT_FALSE(record->validation_accuracy.has_value());
  EXPECT_DOUBLE_EQ(*record->work, static_cast<double>(*record->macs) * 60.0 * 2.0);
}

TEST_F(SweepProgram, SkipsWhatIsFinishedAndGoesOnWithWhatIsNot) {
  ASSERT_EQ(run({"sweep", sweep("epochs = 12\n"), "--out", "whole"}).code, 0);
  pid_t child = start({"sweep", "sweep.toml"});
  // In the middle of the second run, as Ctrl-C does it.
  ASSERT_TRUE(wait_until([&] { return lines_of("s/another/seed-1/journal.jsonl") >= 2; }));
  kill(child, SIGINT);
  const Result stopped = finish(child);
  EXPECT_EQ(stopped.code, 130) << stopped.error;
  EXPECT_TRUE(contains(stopped.error, "stagewise sweep sweep.toml"));
  EXPECT_TRUE(read_run(path("s/one/seed-1")).has_value());
  EXPECT_FALSE(read_run(path("s/another/seed-1")).has_value());
  EXPECT_FALSE(fs::exists(path("s/one/seed-2")));
  EXPECT_TRUE(contains(folder_.read("s/another/seed-1.log"), "--resume s/another/seed-1"));

  const auto untouched = fs::last_write_time(path("s/one/seed-1/model.safetensors"));
  // What was killed before its first checkpoint begins again.
  folder_.write("s/one/seed-2/config.toml", "# stagewise train\n");
  const Result result = run({"sweep", "sweep.toml", "--jobs", "2"});
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(fs::last_write_time(path("s/one/seed-1/model.safetensors")), untouched);
  for (const char* name : {"one/seed-1", "one/seed-2", "another/seed-1", "another/seed-2"}) {
    const std::string model = std::string("/") + name + "/model.safetensors";
    EXPECT_EQ(folder_.read("s" + model), folder_.read("whole" + model)) << name;
  }
  EXPECT_EQ(run({"sweep", "sweep.toml"}).out, result.out);
}

TEST_F(SweepProgram, ItsRunsSaveAndStopWhenItIsKilled) {
  const pid_t child = start({"sweep", sweep("epochs = 5000\n")});
  ASSERT_TRUE(wait_until([&] { return lines_of("s/one/seed-1/journal.jsonl") >= 2; }));
  kill(child, SIGKILL);
  finish(child);
  EXPECT_TRUE(wait_until([&] { return folder_.read("s/one/seed-1.log").find("--resume") != std::string::npos; }));
}

TEST_F(SweepProgram, RefusesAtOnceWhatNoRunCouldUse) {
  const std::string head = "out = \"s\"\nseeds = [1]\n";
  const std::string arm = "[arms.a]\ncommand = \"train\"\n";
  expect_refused(head + "[common]\nepoch = 3\n" + arm, "`epoch` is no option of `stagewise train`");
  expect_refused(head + arm + "criterion = \"vip\"\n", "`criterion` is no option of `stagewise train`");
  expect_refused(head + arm + "epochs = 0\n", "--epochs");
  expect_refused(head + arm + "epochs = [1, [2, 3.5]]\n", "--epochs");
  expect_refused(head + arm + "out = \"elsewhere\"\n", "`out`");
  expect_refused(head + arm + "seed = 7\n", "seeds = [7]");
  expect_refused(head + "[arms.a]\nepochs = 3\n", "line 3: arm `a` needs command");
  expect_refused(head + "[arms.a]\ncommand = \"evaluate\"\n", "needs command");
  expect_refused(head + "[arms.\"../a\"]\ncommand = \"train\"\n", "line 3: expected an arm's name");
  expect_refused(head + "[arm.a]\ncommand = \"train\"\n", "`arm` has no meaning");
  expect_refused(head, "at least one [arms.NAME]");
  expect_refused("seeds = [1]\n" + arm, "out = ");
  expect_refused("out = \"s\"\n" + arm, "needs seeds");
  expect_refused("out = \"s\"\nseeds = [1, 1]\n" + arm, "line 2: seed 1 is there twice");
  expect_refused("out = \"s\"\nseeds = [-1]\n" + arm, "line 2");
  expect_refused(head + arm + "data = 1979-05-27\n", "line 5: expected a text");
  expect_refused(head + "[common\n", "line 3");
  EXPECT_TRUE(contains(run({"sweep", "nowhere.toml"}).error, "nowhere.toml"));
}

TEST_F(SweepProgram, RefusesAFileThatChangedUnderItsRuns) {
  ASSERT_EQ(run({"sweep", sweep("epochs = 1\n")}).code, 0);
  const Result changed = run({"sweep", sweep("epochs = 2\n")});
  EXPECT_EQ(changed.code, 2);
  EXPECT_TRUE(contains(changed.error, "--epochs is 1 in `s/one/seed-1/config.toml`"));
}

TEST_F(SweepProgram, AnArmThatFailsStopsNoOther) {
  const Result result = run({"sweep", sweep("epochs = 1\n", "schedule = \"nonsense\"\n")});
  EXPECT_EQ(result.code, 1);
  EXPECT_TRUE(contains(result.error, "2 of the runs failed:\n  another/seed-1 (exit code 2): s/another/seed-1.log"));
  EXPECT_TRUE(contains(folder_.read("s/another/seed-1.log"), "nonsense"));
  EXPECT_EQ(lines_of("s/sweep.csv"), 3);
  EXPECT_TRUE(contains(result.out, "one"));
}

TEST_F(SweepProgram, TheExampleRunsAndIsCompared) {
  const std::string file = STAGEWISE_SOURCE_DIR "/bench/search/example.toml";
  const Result sweep = run({"sweep", file, "--out", "ex", "--jobs", "2"});
  ASSERT_EQ(sweep.code, 0) << sweep.error;
  const Result compared = run({"compare", "ex", "--csv", "all.csv"});
  ASSERT_EQ(compared.code, 0) << compared.error;
  EXPECT_TRUE(contains(compared.out, "left out"));
  EXPECT_TRUE(contains(folder_.read("all.csv"), "\ndifference,deep,narrow,"));
  const Result drawn = run({"compare", "ex", "--picture", "p.svg"});
  if (drawn.code != 0) {
    EXPECT_TRUE(contains(drawn.error, "gnuplot-nox"));
  } else {
    EXPECT_TRUE(contains(folder_.read("p.svg"), "narrow"));
  }
  EXPECT_EQ(run({"compare", "nowhere"}).code, 2);
  EXPECT_EQ(run({"compare"}).code, 2);
}

TEST_F(SweepProgram, EvaluateWritesWhatItSaysOfEachImage) {
  ASSERT_EQ(run({"train", "--synthetic-train", "60", "--synthetic-test", "300", "--blocks", "1", "--epochs", "1",
                 "--quiet", "--out", "r"})
                .code,
            0);
  const Result plain = run({"evaluate", "r", "--quiet"});
  const Result kept = run({"evaluate", "r", "--quiet", "--predictions", "said.csv"});
  ASSERT_EQ(kept.code, 0) << kept.error;
  EXPECT_EQ(kept.out, plain.out);
  const Predictions predictions = read_predictions(path("said.csv"));
  EXPECT_EQ(predictions.images(), 300);
  EXPECT_DOUBLE_EQ(predictions.result().accuracy(), *read_run(path("r"))->test_accuracy);
}

}  // namespace
}  // namespace stagewise
