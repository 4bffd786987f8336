// The program as a person runs it, in a folder of the test's own.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tensor/atomic_file.h"
#include "tensor/safetensors.h"
#include "tests/temporary_folder.h"

namespace stagewise {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

struct Result {
  int code = -1;  // 128 + the signal, where one ended it
  std::string out, error;
};

/// What a process finds when it starts.
struct Surroundings {
  std::string out = "out.txt", error = "error.txt";  // of the standard streams
  std::vector<int> closed_streams = {}, ignored_signals = {};
  rlim_t largest_file = RLIM_INFINITY;  // stands in for a full disk
  rlim_t memory = RLIM_INFINITY;        // of addresses
  Arguments environment = {};           // on top of the test's own: NAME=VALUE
};

class Program : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path(name); }

  /// Starts the program in the test's folder.
  pid_t start(const Arguments& arguments, const Surroundings& surroundings = {}) const {
    std::vector<const char*> argv = {STAGEWISE_PROGRAM};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    argv.push_back(nullptr);
    const std::string program = fs::absolute(STAGEWISE_PROGRAM);
    const pid_t child = fork();
    if (child != 0) return child;
    if (chdir(folder_.path().c_str()) != 0) _exit(99);
    dup2(open(surroundings.out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), STDOUT_FILENO);
    dup2(open(surroundings.error.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), STDERR_FILENO);
    for (const int ignored : surroundings.ignored_signals) signal(ignored, SIG_IGN);
    if (surroundings.largest_file != RLIM_INFINITY) {
      signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{surroundings.largest_file, surroundings.largest_file};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (surroundings.memory != RLIM_INFINITY) {
      const rlimit limit{surroundings.memory, surroundings.memory};
      setrlimit(RLIMIT_AS, &limit);
    }
    for (const std::string& variable : surroundings.environment) putenv(const_cast<char*>(variable.c_str()));
    for (const int stream : surroundings.closed_streams) close(stream);
    execv(program.c_str(), const_cast<char* const*>(argv.data()));
    _exit(98);
  }

  Result finish(pid_t child, const Surroundings& surroundings = {}) const {
    const auto text = [&](const std::string& file) {
      return fs::is_regular_file(fs::path(folder_.path()) / file) ? read_file(path(file)) : std::string();
    };
    int status = 0;
    waitpid(child, &status, 0);
    return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            .out = text(surroundings.out),
            .error = text(surroundings.error)};
  }

  Result run(const Arguments& arguments, const Surroundings& surroundings = {}) const {
    return finish(start(arguments, surroundings), surroundings);
  }

  void expect_refused(const Arguments& arguments, const std::string& message) const {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 2) << testing::PrintToString(arguments) << result.error;
    EXPECT_NE(result.error.find(message), std::string::npos) << testing::PrintToString(arguments) << result.error;
  }

  /// `command` with small data and a small network, and what comes on top.
  static Arguments small(const std::string& command, const std::string& out, const Arguments& more = {}) {
    Arguments arguments = {command, command == "search" ? "--start" : "--blocks",
                           "1,1",   "--epochs",
                           "3",     "--synthetic-train",
                           "100",   "--synthetic-test",
                           "20",    "--batch-size",
                           "20",    "--quiet",
                           "--out", out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  /// Waits until the journal of `run` has at least `lines` lines; false when the child ended before.
  bool wait_for_lines(pid_t child, const std::string& run, std::ptrdiff_t lines) const {
    while (true) {
      std::ifstream journal(path(run + "/journal.jsonl"));
      const std::string text((std::istreambuf_iterator<char>(journal)), {});
      if (std::count(text.begin(), text.end(), '\n') >= lines) return true;
      siginfo_t info = {};
      if (waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == child) {
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  std::string model(const std::string& run) const { return read_file(path(run + "/model.safetensors")); }

  /// Takes the normalisation out of the model of `run`.
  void forget_normalisation(const std::string& run) const {
    const std::string file = path(run + "/model.safetensors");
    Safetensors tensors = read_safetensors(file);
    for (const char* name : {"normalisation.scale", "normalisation.offset"}) ASSERT_EQ(tensors.tensors.erase(name), 1U);
    write_safetensors(file, tensors);
  }

  /// Nothing but what a run is made of: no temporary files.
  void expect_tidy(const std::string& run) const {
    const std::vector<std::string> known = {
        "architecture.json", "checkpoint.safetensors", "config.toml", "journal.jsonl", "model.safetensors",
        "summary.txt",       "test_predictions.csv",   "report.html", "plans.json"};
    for (const auto& entry : fs::directory_iterator(path(run))) {
      EXPECT_TRUE(std::count(known.begin(), known.end(), entry.path().filename())) << entry.path();
    }
  }

  TemporaryFolder folder_;
};

}  // namespace stagewise
