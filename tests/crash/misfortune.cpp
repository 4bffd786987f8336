// A library that a program is started with (LD_PRELOAD): it counts the calls that change a folder or what is in it, and at
// one of them does to the program what may befall it there. Set by the environment:
//   MISFORTUNE_FOLDER  the folder, as an absolute path
//   MISFORTUNE_AT      at which call, counted from 1; 0: at none
//   MISFORTUNE         kill   the process is killed; of a write the first half is made, any other call is not
//                      power  the same, and what was not flushed to the disk is gone: of each file that was written,
//                             all behind its length at its last fsync
//                      full   of a write the first half is made; from there on nothing fits on the disk
//   MISFORTUNE_LOG     a file that gets a line for each call: `write journal.jsonl`
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

namespace {

std::string setting(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// The C library's own function of this name.
template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

/// What has been written to a file since it was flushed: a second descriptor, and how long it was then.
struct Unflushed {
  int descriptor;
  off_t flushed;
};

class Misfortune {
 public:
  static Misfortune& instance() {
    static Misfortune& one = *new Misfortune;  // still there when the program's own statics go
    return one;
  }

  enum class Fate { none, torn, full };

  /// To be asked before each call. Doesn't return where the process is to die.
  Fate before(const char* call, const std::string& path, bool writes) {
    if (!concerns(path)) return Fate::none;
    const long number = ++calls_;
    note(call, path);
    if (at_ == 0 || number < at_) return Fate::none;
    if (what_ == "full") return number == at_ && writes ? Fate::torn : Fate::full;
    if (writes) return Fate::torn;
    die();
  }

  /// After the first half of a write.
  void after_half() {
    if (what_ != "full") die();
  }

  void will_write(int descriptor, const std::string& path) {
    if (what_ != "power" || !concerns(path)) return;
    struct stat status = {};
    if (fstat(descriptor, &status) != 0 || unflushed_.contains(status.st_ino)) return;
    unflushed_[status.st_ino] = {fcntl(descriptor, F_DUPFD_CLOEXEC, 100), status.st_size};
  }

  void has_flushed(int descriptor) {
    struct stat status = {};
    if (what_ != "power" || fstat(descriptor, &status) != 0) return;
    const auto found = unflushed_.find(status.st_ino);
    if (found == unflushed_.end()) return;
    close(found->second.descriptor);
    unflushed_.erase(found);
  }

 private:
  Misfortune()
      : folder_(setting("MISFORTUNE_FOLDER")),
        what_(setting("MISFORTUNE")),
        at_(std::atol(setting("MISFORTUNE_AT").c_str())) {
    const std::string log = setting("MISFORTUNE_LOG");
    if (log.empty()) return;
    log_ =
        static_cast<int>(syscall(SYS_openat, AT_FDCWD, log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  }

  bool concerns(const std::string& path) const {
    return !folder_.empty() && (path == folder_ || path.starts_with(folder_ + "/"));
  }

  void note(const char* call, const std::string& path) const {
    if (log_ < 0) return;
    const std::string line = call + (" " + path.substr(path.rfind('/') + 1)) + "\n";
    syscall(SYS_write, log_, line.data(), line.size());
  }

  [[noreturn]] void die() {
    for (const auto& [inode, file] : unflushed_) syscall(SYS_ftruncate, file.descriptor, file.flushed);
    kill(getpid(), SIGKILL);
    while (true) pause();
  }

  const std::string folder_, what_;
  const long at_;
  int log_ = -1;
  std::atomic<long> calls_{0};
  std::map<ino_t, Unflushed> unflushed_;
};

std::string path_of(int descriptor) {
  char path[PATH_MAX];
  const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), path, sizeof path);
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : "";
}

std::string absolute(const char* path) {
  if (path[0] == '/') return path;
  char folder[PATH_MAX];
  return getcwd(folder, sizeof folder) != nullptr ? std::string(folder) + "/" + path : path;
}

using Fate = Misfortune::Fate;

int no_space() {
  errno = ENOSPC;
  return -1;
}

/// A call on a path that makes something new.
template <class Call>
int unless_full(const char* name, const char* path, const Call& call) {
  return Misfortune::instance().before(name, absolute(path), false) == Fate::full ? no_space() : call();
}

}  // namespace

extern "C" {

ssize_t write(int descriptor, const void* bytes, size_t count) {
  static auto* const next = real<ssize_t(int, const void*, size_t)>("write");
  Misfortune& misfortune = Misfortune::instance();
  const std::string path = path_of(descriptor);
  const Fate fate = misfortune.before("write", path, true);
  if (fate == Fate::full) return no_space();
  misfortune.will_write(descriptor, path);
  if (fate == Fate::none) return next(descriptor, bytes, count);
  const ssize_t half = next(descriptor, bytes, count / 2);
  misfortune.after_half();
  return half > 0 ? half : no_space();
}

// Streams write by this one when there is more than fits their buffer; as several writes it is no other file.
ssize_t writev(int descriptor, const iovec* parts, int count) {
  ssize_t total = 0;
  for (int i = 0; i < count; ++i) {
    const ssize_t written = write(descriptor, parts[i].iov_base, parts[i].iov_len);
    if (written < 0) return total > 0 ? total : -1;
    total += written;
    if (static_cast<size_t>(written) < parts[i].iov_len) break;
  }
  return total;
}

int fsync(int descriptor) {
  static auto* const next = real<int(int)>("fsync");
  Misfortune& misfortune = Misfortune::instance();
  if (misfortune.before("fsync", path_of(descriptor), false) == Fate::full) return no_space();
  const int result = next(descriptor);
  if (result == 0) misfortune.has_flushed(descriptor);
  return result;
}

int ftruncate(int descriptor, off_t length) noexcept {
  static auto* const next = real<int(int, off_t)>("ftruncate");
  Misfortune::instance().before("ftruncate", path_of(descriptor), false);  // a full disk lets files shrink
  return next(descriptor, length);
}

int rename(const char* from, const char* to) noexcept {
  static auto* const next = real<int(const char*, const char*)>("rename");
  return unless_full("rename", to, [&] { return next(from, to); });
}

int unlink(const char* path) noexcept {
  static auto* const next = real<int(const char*)>("unlink");
  Misfortune::instance().before("unlink", absolute(path), false);
  return next(path);
}

int remove(const char* path) noexcept {
  static auto* const next = real<int(const char*)>("remove");
  Misfortune::instance().before("unlink", absolute(path), false);
  return next(path);
}

int mkdir(const char* path, mode_t mode) noexcept {
  static auto* const next = real<int(const char*, mode_t)>("mkdir");
  return unless_full("mkdir", path, [&] { return next(path, mode); });
}

int open(const char* path, int flags, ...) {
  static auto* const next = real<int(const char*, int, ...)>("open");
  if ((flags & O_CREAT) == 0) return next(path, flags);
  va_list rest;
  va_start(rest, flags);
  const auto mode = va_arg(rest, mode_t);
  va_end(rest);
  return unless_full("open", path, [&] { return next(path, flags, mode); });
}

}  // extern "C"
