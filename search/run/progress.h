// What a person sees while a run goes on: on a terminal one line that is drawn again and again, elsewhere plain lines.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "datasets/dataset.h"
#include "search/training/run_data.h"
#include "search/training/trainer.h"

namespace stagewise {

/// Writes to standard error. A quiet one writes nothing.
class Progress {
 public:
  explicit Progress(bool quiet = true);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// A line (or several) that stays.
  void line(const std::string& text);
  /// A line that the next one overwrites; where there is no terminal, one that stays, every half minute.
  void status(const std::string& text);
  /// The same for a pass over images: `what`, then images a second, loss, accuracy, and what is `left` of the whole
  /// run.
  void pass(const std::string& what, const PassProgress& progress, const std::string& left = "");
  /// Counts that datasets report while they are read.
  ProgressCallback counts();
  /// What is found while data is read goes to line() and counts().
  DataListener listener();

 private:
  void clear();

  const bool quiet_, terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_status_, pass_began_;
  std::string pass_;
};

}  // namespace stagewise
