#include "search/run/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace stagewise {

namespace {

constexpr int kCannotStart = 127;  // the shell's code for it

/// Between fork and exec: system calls only.
[[noreturn]] void become(char* const* argv, int log, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kCannotStart);  // it died before it could be told of
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execv("/proc/self/exe", argv);
  _exit(kCannotStart);
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments, const std::string& log) {
  std::string name = "stagewise";
  std::vector<std::string> texts = arguments;
  std::vector<char*> argv = {name.data()};
  for (std::string& text : texts) argv.push_back(text.data());
  argv.push_back(nullptr);
  const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  require(file >= 0, "cannot open `", log, "`: ", std::strerror(errno));
  const pid_t parent = getpid();
  id_ = fork();
  if (id_ == 0) become(argv.data(), file, parent);
  const int problem = errno;
  close(file);
  require(id_ > 0, "cannot start another process: ", std::strerror(problem));
}

ChildProcess::~ChildProcess() {
  ask_to_stop();
  wait();
}

std::optional<int> ChildProcess::exit_code() { return reap(WNOHANG); }

int ChildProcess::wait() { return *reap(0); }

void ChildProcess::ask_to_stop() {
  if (exit_code_ || asked_) return;
  asked_ = true;
  kill(id_, SIGTERM);
}

std::optional<int> ChildProcess::reap(int options) {
  if (exit_code_) return exit_code_;
  int status = 0;
  pid_t ended = 0;
  do {
    ended = waitpid(id_, &status, options);
  } while (ended < 0 && errno == EINTR);
  if (ended == 0) return {};
  exit_code_ = ended < 0 ? kCannotStart : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

}  // namespace stagewise
