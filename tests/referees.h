// Other programs that judge what ours writes: the scripts in tests/referees/, run in the virtual environment that
// tests/referees/install makes.
#pragma once

#include <cstdlib>

#include "tests/program.h"

namespace stagewise {

/// Skipped where there is no such environment; in CI that is a failure.
class RefereedProgram : public Program {
 protected:
  void SetUp() override {
    if (fs::exists(kPython)) return;
    if (std::getenv("CI") != nullptr) FAIL() << "the referees are missing: no " << kPython;
    GTEST_SKIP() << "no referees; to have them: tests/referees/install "
                 << fs::path(kPython).parent_path().parent_path();
  }

  /// Runs Python in the test's folder.
  Result referee(const std::string& command) const {
    const std::string line = "cd '" + folder_.path() + "' && '" + std::string(kPython) + "' " + command +
                             " >referee_out.txt 2>referee_error.txt";
    const int status = std::system(line.c_str());
    return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128,
            .out = read_file(path("referee_out.txt")),
            .error = read_file(path("referee_error.txt"))};
  }
  Result judged_by(const std::string& script, const std::string& arguments) const {
    return referee("'" STAGEWISE_SOURCE_DIR "/tests/referees/" + script + "' " + arguments);
  }

  static constexpr const char* kPython = STAGEWISE_SOURCE_DIR "/build-referees/bin/python";
};

}  // namespace stagewise
