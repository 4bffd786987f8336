// The program dies, or the disk is full, at any call that changes a run's folder (misfortune.cpp). Whatever came of it, the
// same command line once more ends with the bits of a run that nothing befell. `make crash` tries every call; the normal
// tests a few, spread over all.
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "layers/architecture.h"
#include "search/checkpoint.h"
#include "tests/program.h"

namespace stagewise {
namespace {

/// The programs that write, and what befalls them.
struct Case {
  std::string command, misfortune;
};

std::ostream& operator<<(std::ostream& out, const Case& one) { return out << one.command << "_" << one.misfortune; }

class Crash : public Program, public testing::WithParamInterface<Case> {
 protected:
  static Surroundings with(const std::string& misfortune, std::size_t call, const std::string& folder) {
    return {.environment = {"LD_PRELOAD=" STAGEWISE_MISFORTUNE, "MISFORTUNE_FOLDER=" + folder,
                            "MISFORTUNE=" + misfortune, "MISFORTUNE_AT=" + std::to_string(call)}};
  }

  /// The calls that change `folder` while the program runs, in words: `write journal.jsonl`.
  std::vector<std::string> calls_of(const Arguments& arguments, const std::string& folder) const {
    Surroundings surroundings = with("", 0, folder);
    surroundings.environment.push_back("MISFORTUNE_LOG=" + path("calls"));
    const Result result = run(arguments, surroundings);
    EXPECT_EQ(result.code, 0) << result.error;
    std::istringstream lines(folder_.read("calls"));
    std::vector<std::string> calls;
    for (std::string line; std::getline(lines, line);) calls.push_back(line);
    return calls;
  }

  /// Which calls are tried: all, or `count` of them with the first and the last, others for every case.
  static std::vector<std::size_t> tried(std::size_t calls, std::size_t count) {
    std::vector<std::size_t> numbers;
    const bool all = std::getenv("STAGEWISE_EVERY_CRASH") != nullptr;
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    const std::size_t shift = std::hash<std::string>()(name);
    for (std::size_t i = 0; i < (all ? calls : count); ++i) {
      numbers.push_back(all ? i + 1 : 1 + (i * calls + shift % calls) / count);
    }
    return numbers;
  }
};

/// A journal without what two runs of the same search differ in.
std::string timeless(const std::string& journal) {
  std::istringstream lines(journal);
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    nlohmann::json event = nlohmann::json::parse(line);
    for (const char* key : {"seconds", "images_per_second", "utc", "joules", "joules_seconds"}) event.erase(key);
    text += event.dump() + "\n";
  }
  return text;
}

class CrashOfARun : public Crash {
 protected:
  Arguments job() const {
    const std::string what = GetParam().command == "search" ? "search --start 1 --grow-to 2" : "train --blocks 1,1";
    std::istringstream words(what +
                             " --epochs 3 --synthetic-train 40 --synthetic-test 10 --batch-size 20 --quiet --threads 1"
                             " --out run --resume-or-start");
    return {std::istream_iterator<std::string>(words), {}};
  }

  std::string file(const std::string& name) const { return folder_.read("run/" + name); }

  /// Whatever lies under its own name is whole.
  void expect_nothing_half_written() const {
    for (const auto& [name, whole] : whole_) {
      if (fs::exists(path("run/" + name))) {
        EXPECT_EQ(file(name), whole) << name;
      }
    }
    if (fs::exists(path("run/checkpoint.safetensors"))) {
      EXPECT_NO_THROW(read_checkpoint(path("run/checkpoint.safetensors")));
    }
  }

  void expect_as_if_nothing_had_happened() const {
    for (const auto& [name, whole] : whole_) EXPECT_EQ(file(name), whole) << name;
    EXPECT_EQ(timeless(file("journal.jsonl")), journal_);
    for (const char* name : {"summary.txt", "report.html"}) EXPECT_TRUE(fs::exists(path(std::string("run/") + name)));
    expect_tidy("run");
  }

  /// Lets the misfortune happen and looks at what is left.
  void suffer(std::size_t call) const {
    fs::remove_all(path("run"));
    const Result befallen = run(job(), with(GetParam().misfortune, call, path("run")));
    expect_nothing_half_written();
    if (GetParam().misfortune != "full") {
      EXPECT_EQ(befallen.code, 128 + SIGKILL);
    } else if (befallen.code != 0) {
      EXPECT_EQ(befallen.code, 2) << befallen.error;
      EXPECT_TRUE(contains(befallen.error, "run"));
      EXPECT_TRUE(contains(befallen.error, "No space left on device"));
    } else {  // only the report wasn't written, which costs nothing
      for (const auto& [name, whole] : whole_) EXPECT_EQ(file(name), whole) << name;
    }
  }

  /// Once more on the way back, as the folder is taken and tidied.
  void suffer_again(std::size_t call) const {
    run(job(), with(GetParam().misfortune, call, path("run")));
    expect_nothing_half_written();
  }

  std::map<std::string, std::string> whole_;  // of the run that nothing befell, the files that are the same in each
  std::string journal_;
};

TEST_P(CrashOfARun, AtAnyCallEndsWithTheSameBitsInTheEnd) {
  const std::vector<std::string> calls = calls_of(job(), path("run"));
  ASSERT_GT(calls.size(), 50U);
  for (const char* name : {"config.toml", "model.safetensors", "architecture.json", "test_predictions.csv"}) {
    whole_[name] = file(name);
  }
  journal_ = timeless(file("journal.jsonl"));
  for (const std::size_t call : tried(calls.size(), 4)) {
    SCOPED_TRACE(concat("call ", call, " of ", calls.size(), ": ", calls[call - 1]));
    suffer(call);
    suffer_again(1 + call % 12);
    const Result again = run(job());
    EXPECT_EQ(again.code, 0) << again.error;
    expect_as_if_nothing_had_happened();
    if (HasFailure()) return;
  }
}

std::vector<Case> cases(const std::vector<std::string>& commands) {
  std::vector<Case> all;
  for (const std::string& command : commands) {
    for (const char* misfortune : {"kill", "power", "full"}) all.push_back({command, misfortune});
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(Every, CrashOfARun, testing::ValuesIn(cases({"search", "train"})),
                         testing::PrintToStringParamName());

/// Commands that write files besides a run's.
class CrashOfACommand : public Crash {
 protected:
  Arguments job() const {
    const std::string out = "files/" + GetParam().command;
    if (GetParam().command == "report") return {"report", "run", "--quiet", "--out", out};
    return {"export", "run", "--to", GetParam().command, "--out", out};
  }
};

/// The files in `folder` and in the folders in it.
std::map<std::string, std::string> files_in(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files[entry.path().filename()] = read_file(entry.path());
  }
  return files;
}

TEST_P(CrashOfACommand, LeavesFilesThatAreWholeOrNotThere) {
  const auto& [command, misfortune] = GetParam();
  ASSERT_EQ(run({"train", "--blocks", "1", "--epochs", "1", "--synthetic-train", "20", "--synthetic-test", "10",
                 "--batch-size", "10", "--quiet", "--out", "run"})
                .code,
            0);
  fs::create_directories(path("files"));
  const std::vector<std::string> calls = calls_of(job(), path("files"));
  ASSERT_GE(calls.size(), 5U);
  const std::map<std::string, std::string> whole = files_in(path("files"));
  for (const std::size_t call : tried(calls.size(), 2)) {
    SCOPED_TRACE(concat("call ", call, " of ", calls.size(), ": ", calls[call - 1]));
    fs::remove_all(path("files"));
    fs::create_directories(path("files"));
    const Result befallen = run(job(), with(misfortune, call, path("files")));
    if (misfortune != "full") {
      EXPECT_EQ(befallen.code, 128 + SIGKILL);
    } else if (befallen.code != 0) {
      EXPECT_TRUE(contains(befallen.error, "files/" + command));
      EXPECT_TRUE(contains(befallen.error, "No space left on device"));
    }
    for (const auto& [name, contents] : files_in(path("files"))) {
      if (misfortune != "full" && is_partial_name(name)) continue;
      ASSERT_TRUE(whole.contains(name)) << name;
      const bool is_whole = command == "report" ? contents.ends_with("</html>\n")  // a page holds times
                                                : contents == whole.at(name);
      EXPECT_TRUE(is_whole) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, CrashOfACommand, testing::ValuesIn(cases({"pytorch", "report"})),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace stagewise
