// RUN: the folder that a search or a training leaves behind.
#pragma once

#include <memory>
#include <string>

namespace stagewise {

class RunDirectory {
 public:
  /// A folder for a new run at `path`: one that isn't there, is empty, or holds a run that never got to its first
  /// checkpoint. Where `path` is empty, a new `runs/COMMAND-YYYYmmdd-HHMMSS`. It belongs to this process until the last
  /// copy of what is returned is gone: of several that ask for one path, one gets it. Errors: throws Error when
  /// something else is there, another process has it, or it can't be made.
  static RunDirectory create(const std::string& path, const std::string& command);
  /// What create() would refuse, as far as it shows without making anything; an empty path is `runs`.
  static void check_free(const std::string& path);
  /// A folder that a run left, which belongs to this process from now on. Errors: throws Error when there is no
  /// checkpoint in it, or another process has it.
  static RunDirectory resume(const std::string& path);
  /// Whether resume() has something to go on with.
  static bool holds_run(const std::string& path) { return RunDirectory(path).has_checkpoint(); }

  const std::string& path() const { return path_; }
  std::string config() const { return path_ + "/config.toml"; }
  std::string journal() const { return path_ + "/journal.jsonl"; }
  std::string checkpoint() const { return path_ + "/checkpoint.safetensors"; }
  std::string architecture() const { return path_ + "/architecture.json"; }
  std::string model() const { return path_ + "/model.safetensors"; }
  std::string test_predictions() const { return path_ + "/test_predictions.csv"; }
  std::string plans() const { return path_ + "/plans.json"; }
  std::string summary() const { return path_ + "/summary.txt"; }
  bool has_checkpoint() const { return holds_file(checkpoint()); }
  /// Whether there is a file (no folder) at `path`.
  static bool holds_file(const std::string& path);

  /// Removes what a run that couldn't even begin has written; never throws.
  void discard() const noexcept;

 private:
  explicit RunDirectory(std::string path);
  /// Makes the folder this process's own; `flag` is who asked. Errors: throws Error when another process has it.
  void claim(const std::string& flag);
  bool never_began() const;
  void remove_beginnings() const noexcept;

  class Lock;
  std::string path_;
  bool made_ = false;  // the folder wasn't there before
  std::shared_ptr<const Lock> lock_;
};

}  // namespace stagewise
