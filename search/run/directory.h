// RUN: the folder that a search or a training leaves behind.
#pragma once

#include <string>

namespace stagewise {

class RunDirectory {
 public:
  /// A new folder at `path`; where that is empty, `runs/COMMAND-YYYYmmdd-HHMMSS`. Errors: throws Error when something
  /// is there already, or the folder can't be made.
  static RunDirectory create(const std::string& path, const std::string& command);
  /// What create() would refuse, without making anything; an empty path is always free.
  static void check_free(const std::string& path);
  /// A folder that a run left. Errors: throws Error when there is no checkpoint in it.
  static RunDirectory resume(const std::string& path);

  const std::string& path() const { return path_; }
  std::string config() const { return path_ + "/config.toml"; }
  std::string journal() const { return path_ + "/journal.jsonl"; }
  std::string checkpoint() const { return path_ + "/checkpoint.safetensors"; }
  std::string architecture() const { return path_ + "/architecture.json"; }
  std::string model() const { return path_ + "/model.safetensors"; }
  std::string test_predictions() const { return path_ + "/test_predictions.csv"; }
  std::string summary() const { return path_ + "/summary.txt"; }
  bool has_checkpoint() const { return holds_file(checkpoint()); }
  /// Whether there is a file (no folder) at `path`.
  static bool holds_file(const std::string& path);

  /// Removes what a run that couldn't even begin has written; never throws.
  void discard() const noexcept;

 private:
  explicit RunDirectory(std::string path) : path_(std::move(path)) {}

  std::string path_;
  bool made_ = false;  // the folder wasn't there before
};

}  // namespace stagewise
