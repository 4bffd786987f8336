// This program once more, as a process of its own.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace stagewise {

/// A child that runs this same program. It has a process group of its own, so a Ctrl-C reaches it through
/// ask_to_stop() only, and it is asked to stop when its parent dies, whatever the parent dies of. Start it while there
/// is one thread.
class ChildProcess {
 public:
  /// What it prints is added to the end of the file `log`. Errors: throws Error when there can't be another process, or
  /// the log can't be opened.
  ChildProcess(const std::vector<std::string>& arguments, const std::string& log);
  /// Asks a child that still runs to stop, and waits for it.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Nothing while it runs; then its exit code, or 128 + the signal that ended it.
  std::optional<int> exit_code();
  /// Sends SIGTERM: a run saves where it stands and ends. Once only: a second one would end it before it has saved.
  void ask_to_stop();
  /// Waits for its end; returns what exit_code() does.
  int wait();

 private:
  std::optional<int> reap(int options);

  pid_t id_ = -1;
  std::optional<int> exit_code_;
  bool asked_ = false;
};

}  // namespace stagewise
