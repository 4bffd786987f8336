// What befalls the program while it runs: kills, signals, other runs, full disks, closed streams, too little memory.
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/program.h"
#include "tests/sanitized.h"

namespace stagewise {
namespace {

class Processes : public Program {
 protected:
  /// 12 epochs, for those that are to be stopped on the way.
  static Arguments longer(const std::string& out, const std::string& command = "train", const Arguments& more = {}) {
    Arguments arguments = small(command, out, more);
    *(std::find(arguments.begin(), arguments.end(), "--epochs") + 1) = "12";
    return arguments;
  }

  void expect_journal_of_json(const std::string& run) const {
    std::istringstream lines(read_file(path(run + "/journal.jsonl")));
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
    EXPECT_GT(count, 3);
  }
};

// ---- Kills ---------------------------------------------------------------------------------------------------------

TEST_F(Processes, KilledAndResumedItEndsWithTheSameBits) {
  const Arguments more = {"--grow-to", "2,2"};
  ASSERT_EQ(run(longer("whole", "search", more)).code, 0);
  pid_t child = start(longer("killed", "search", more));
  for (const std::ptrdiff_t lines : {2, 4, 6, 9, 13}) {  // of 19
    const bool waiting = wait_for_lines(child, "killed", lines);
    kill(child, SIGKILL);
    EXPECT_EQ(finish(child).code, 128 + SIGKILL);
    ASSERT_TRUE(waiting);
    child =
        start(fs::exists(path("killed/checkpoint.safetensors")) ? Arguments{"search", "--resume", "killed", "--quiet"}
                                                                : longer("killed", "search", more));
  }
  const Result result = finish(child);
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(model("killed"), model("whole"));
}

TEST_F(Processes, KilledAtAnyMomentOneCommandLineGoesOnOrStarts) {
  ASSERT_EQ(run(small("train", "whole")).code, 0);
  const Arguments job = small("train", "job", {"--resume-or-start"});
  for (int milliseconds = 0; milliseconds < 60; milliseconds += 4) {
    const pid_t child = start(job);
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(child, SIGKILL);
    const Result killed = finish(child);
    EXPECT_TRUE(killed.code == 128 + SIGKILL || killed.code == 0) << killed.error;
  }
  const Result last = run(job);
  EXPECT_EQ(last.code, 0) << last.error;
  EXPECT_EQ(model("job"), model("whole"));
  expect_tidy("job");
  EXPECT_EQ(run(job).out, last.out) << "a finished one shows its results";
  expect_refused({"train", "--resume-or-start"}, "--out");
  expect_refused({"train", "--resume-or-start", "--resume", "job"}, "--resume");
  Arguments other = job;
  *(std::find(other.begin(), other.end(), "--epochs") + 1) = "4";
  expect_refused(other, "epochs");
}

TEST_F(Processes, AFolderOfARunThatNeverBeganIsTakenAndTidied) {
  ASSERT_EQ(run(small("train", "whole")).code, 0);
  const std::string journal = read_file(path("whole/journal.jsonl"));
  const std::string start_line = journal.substr(0, journal.find('\n') + 1);
  const std::vector<std::string> journals = {"none", "", start_line.substr(0, 5), start_line};
  for (std::size_t i = 0; i < journals.size(); ++i) {
    const std::string out = "killed" + std::to_string(i);
    folder_.write(out + "/config.toml", read_file(path("whole/config.toml")));
    if (journals[i] != "none") folder_.write(out + "/journal.jsonl", journals[i]);
    folder_.write(out + "/checkpoint.safetensors.partial-123-4", "half of i");
    const Result result = run(small("train", out));
    EXPECT_EQ(result.code, 0) << result.error;
    EXPECT_EQ(model(out), model("whole"));
    expect_tidy(out);
  }
  folder_.write("foreign/config.toml", "# my own\n");
  folder_.write("full/config.toml", read_file(path("whole/config.toml")));
  folder_.write("full/journal.jsonl", journal);
  for (const char* out : {"foreign", "full"}) {
    const std::string before = read_file(path(std::string(out) + "/config.toml"));
    expect_refused(small("train", out), "isn't empty");
    EXPECT_EQ(read_file(path(std::string(out) + "/config.toml")), before);
  }
}

TEST_F(Processes, LeftoversOfAKillAreGoneAfterAResume) {
  const pid_t child = start(longer("x"));
  ASSERT_TRUE(wait_for_lines(child, "x", 3));
  kill(child, SIGKILL);
  finish(child);
  folder_.write("x/checkpoint.safetensors.partial-123-4", "half of i");
  folder_.write("x/model.safetensors.partial-99999-0", "");
  ASSERT_EQ(run({"train", "--resume", "x", "--quiet"}).code, 0);
  expect_tidy("x");
}

// ---- Signals -------------------------------------------------------------------------------------------------------

TEST_F(Processes, CtrlCEndsWith130AndTheRunGoesOn) {
  ASSERT_EQ(run(small("train", "whole", {"--epochs", "8"})).code, 2) << "--epochs twice";
  Arguments arguments = small("train", "whole");
  *(std::find(arguments.begin(), arguments.end(), "--epochs") + 1) = "12";
  ASSERT_EQ(run(arguments).code, 0);
  arguments.back() = "stopped";
  const pid_t child = start(arguments);
  ASSERT_TRUE(wait_for_lines(child, "stopped", 3));
  kill(child, SIGINT);
  const Result stopped = finish(child);
  EXPECT_EQ(stopped.code, 130);
  EXPECT_NE(stopped.error.find("stagewise train --resume stopped"), std::string::npos) << stopped.error;
  EXPECT_FALSE(fs::exists(path("stopped/model.safetensors")));
  expect_refused({"evaluate", "stopped"}, "--resume stopped");
  expect_refused({"train", "--resume", "stopped", "--learning-rate", "0.1"}, "learning-rate");
  ASSERT_EQ(run({"train", "--resume", "stopped", "--threads", "1", "--quiet"}).code, 0);
  EXPECT_EQ(model("stopped"), model("whole"));
  expect_tidy("stopped");
}

TEST_F(Processes, EverySignalToEndSavesAndSaysHowToGoOn) {
  ASSERT_EQ(run(longer("whole")).code, 0);
  for (const auto& [name, signals] : std::map<std::string, std::vector<int>>{{"term", {SIGTERM}},
                                                                             {"hup", {SIGHUP}},
                                                                             {"hup twice", {SIGHUP, SIGHUP}},
                                                                             {"int, hup", {SIGINT, SIGHUP}},
                                                                             {"hup, int", {SIGHUP, SIGINT}}}) {
    const pid_t child = start(longer(name));
    ASSERT_TRUE(wait_for_lines(child, name, 3));
    for (const int signal : signals) kill(child, signal);
    const Result stopped = finish(child);
    EXPECT_EQ(stopped.code, 130) << name;
    EXPECT_TRUE(contains(stopped.error, "stagewise train --resume " + name));
    ASSERT_EQ(run({"train", "--resume", name, "--quiet"}).code, 0);
    EXPECT_EQ(model(name), model("whole"));
  }
}

TEST_F(Processes, ASignalThatWasIgnoredStaysIgnored) {
  const Surroundings nohup{.ignored_signals = {SIGINT, SIGTERM, SIGHUP}};
  const pid_t child = start(longer("x"), nohup);
  ASSERT_TRUE(wait_for_lines(child, "x", 2));
  for (const int signal : nohup.ignored_signals) kill(child, signal);
  const Result result = finish(child);
  EXPECT_EQ(result.code, 0) << result.error;
  // Only what is ignored: with nohup, Ctrl-C still works.
  const pid_t other = start(longer("y"), {.ignored_signals = {SIGHUP}});
  ASSERT_TRUE(wait_for_lines(other, "y", 2));
  kill(other, SIGHUP);
  kill(other, SIGINT);
  EXPECT_EQ(finish(other).code, 130);
}

// ---- Several at once -----------------------------------------------------------------------------------------------

TEST_F(Processes, OfSeveralThatWantOneFolderOneGetsIt) {
  ASSERT_EQ(run(small("train", "whole")).code, 0);
  for (const bool there : {false, true}) {
    const std::string out = there ? "there" : "new";
    if (there) fs::create_directories(path(out));
    std::vector<std::pair<pid_t, Surroundings>> children;
    for (int i = 0; i < 6; ++i) {
      const std::string number = std::to_string(i);
      const Surroundings surroundings{.out = "out" + number, .error = "error" + number};
      children.emplace_back(start(small("train", out), surroundings), surroundings);
    }
    int winners = 0;
    for (const auto& [child, surroundings] : children) {
      const Result result = finish(child, surroundings);
      winners += result.code == 0;
      if (result.code != 0) {
        EXPECT_EQ(result.code, 2);
        EXPECT_TRUE(contains(result.error, "another") || contains(result.error, "holds a run already")) << result.error;
      }
    }
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(model(out), model("whole"));
    expect_journal_of_json(out);
    expect_tidy(out);
  }
}

TEST_F(Processes, RunsThatStartTogetherTakeFoldersOfTheirOwn) {
  Arguments arguments = small("train", "x");
  arguments.resize(arguments.size() - 2);  // no --out
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) children.push_back(start(arguments));
  for (const pid_t child : children) EXPECT_EQ(finish(child).code, 0);
  std::set<std::string> models;
  for (const auto& entry : fs::directory_iterator(path("runs"))) {
    const std::string run = "runs/" + entry.path().filename().string();
    models.insert(model(run));
    expect_journal_of_json(run);
    expect_tidy(run);
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(path("runs")), fs::directory_iterator()), 4);
  EXPECT_EQ(models.size(), 1U) << "one seed, the same bits";
}

TEST_F(Processes, ARunThatIsGoingOnIsNobodyElses) {
  const pid_t child = start(longer("x"), {.out = "first", .error = "first"});
  ASSERT_TRUE(wait_for_lines(child, "x", 2));
  expect_refused({"train", "--resume", "x"}, "another process");
  Arguments job = longer("x");
  job.emplace_back("--resume-or-start");
  expect_refused(job, "another process");
  expect_refused(longer("x"), "holds a run already");
  EXPECT_EQ(finish(child).code, 0);
  expect_journal_of_json("x");
}

// ---- Disks ---------------------------------------------------------------------------------------------------------

TEST_F(Processes, AFullDiskLeavesNothingOfARunThatCouldNotBegin) {
  const Result result = run(small("train", "x"), {.largest_file = 20'000});
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.error.find("checkpoint.safetensors"), std::string::npos) << result.error;
  EXPECT_FALSE(fs::exists(path("x")));
}

TEST_F(Processes, AFullDiskLeavesTheLastCheckpointWhole) {
  ASSERT_EQ(run(small("train", "whole")).code, 0);
  // The first checkpoint holds no momentum yet and fits; the second doesn't.
  const auto full = static_cast<rlim_t>(fs::file_size(path("whole/checkpoint.safetensors")));
  const Result result = run(small("train", "x"), {.largest_file = full * 3 / 4});
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.error.find("checkpoint.safetensors"), std::string::npos) << result.error;
  expect_tidy("x");
  ASSERT_EQ(run({"train", "--resume", "x", "--quiet"}).code, 0);
  EXPECT_EQ(model("x"), model("whole"));
}

TEST_F(Processes, AFullDiskLeavesWhatWasInTheFolder) {
  fs::create_directories(path("x"));
  EXPECT_EQ(run(small("train", "x"), {.largest_file = 20'000}).code, 2);
  EXPECT_TRUE(fs::is_directory(path("x"))) << "it was there before";
  EXPECT_TRUE(fs::is_empty(path("x")));
}

// ---- Standard streams ----------------------------------------------------------------------------------------------

TEST_F(Processes, ClosedStreamsLendTheirNumbersToNobody) {
  ASSERT_EQ(run(small("train", "whole")).code, 0);
  const std::vector<std::vector<int>> choices = {{0}, {1}, {2}, {1, 2}, {0, 1, 2}};
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const std::string out = "x" + std::to_string(i);
    Arguments arguments = small("train", out);
    std::erase(arguments, "--quiet");  // so that there is text that could land in a file
    const Result result = run(arguments, {.closed_streams = choices[i]});
    EXPECT_EQ(result.code, 0) << result.error;
    expect_journal_of_json(out);
    EXPECT_EQ(model(out), model("whole"));
  }
}

TEST_F(Processes, AResultThatCannotBeWrittenIsAnError) {
  ASSERT_EQ(run(small("train", "x")).code, 0);
  folder_.write("a.ppm", "P6\n8 8\n255\n" + std::string(192, '\x7f'));
  for (const Arguments& arguments :
       {Arguments{"--help"}, Arguments{"--version"}, Arguments{"search", "--help"}, Arguments{"describe", "x"},
        Arguments{"devices"}, Arguments{"evaluate", "x"}, Arguments{"predict", "x", "a.ppm"}, small("train", "y"),
        Arguments{"train", "--resume", "x"}}) {
    const Result result = run(arguments, {.out = "/dev/full"});
    EXPECT_EQ(result.code, 1) << testing::PrintToString(arguments);
    EXPECT_TRUE(contains(result.error, "standard output")) << testing::PrintToString(arguments);
  }
  EXPECT_EQ(model("y"), model("x")) << "the run itself lost nothing";
  EXPECT_EQ(run(small("train", "z"), {.error = "/dev/full"}).code, 0) << "messages are no result";
}

// ---- Memory --------------------------------------------------------------------------------------------------------

TEST_F(Processes, ThreadsThatTheSystemRefusesAreDoneWithout) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need more memory than any limit";
  ASSERT_EQ(run(small("train", "whole")).code, 0);
  Arguments arguments = small("train", "x", {"--threads", "512", "--device", "cpu"});
  std::erase(arguments, "--quiet");
  const Result result = run(arguments, {.memory = rlim_t{3'000'000} << 10});
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_TRUE(contains(result.error, "(the system refuses 512)"));
  EXPECT_EQ(model("x"), model("whole"));
}

TEST_F(Processes, OutOfMemorySaysWhatWasAskedForAndWhatToLower) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need more memory than any limit";
  const Result result = run({"train", "--synthetic-train", "6000", "--batch-size", "6000", "--blocks", "1", "--epochs",
                             "1", "--threads", "1", "--out", "x"},
                            {.memory = rlim_t{600} << 20});
  EXPECT_EQ(result.code, 1);
  for (const char* part : {"out of memory: ", " bytes were asked for", "--batch-size", "--image-size", "--threads"}) {
    EXPECT_TRUE(contains(result.error, part));
  }
}

}  // namespace
}  // namespace stagewise
