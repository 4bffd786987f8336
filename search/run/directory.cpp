#include "search/run/directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace stagewise {

namespace fs = std::filesystem;

namespace {

std::string default_path(const std::string& command) {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  char stamp[32];
  std::strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &local);
  return "runs/" + command + "-" + stamp;
}

/// Makes the folder, and those round it; false when there is something already. Of several processes that make one
/// folder, one gets true.
bool make_folder(const std::string& path) {
  std::error_code error;
  const fs::path parent = fs::path(path).parent_path();
  if (!parent.empty()) fs::create_directories(parent, error);
  if (mkdir(path.c_str(), 0777) == 0) return true;
  require(errno == EEXIST, "[--out] cannot make the folder `", path, "`: ", std::strerror(errno));
  return false;
}

/// The folder in which the first thing on the way to `path` will be made, or `path` itself.
std::string nearest_existing(const std::string& path) {
  std::error_code error;
  fs::path nearest = fs::absolute(path, error).lexically_normal();
  while (!fs::exists(nearest, error) && nearest.has_relative_path()) nearest = nearest.parent_path();
  return nearest.string();
}

bool is_file_beginning_with(const std::string& path, const std::string& start) {
  try {
    const std::string contents = read_file(path);
    const std::size_t length = std::min(contents.size(), start.size());  // of a journal, the first bytes may be all
    return contents.compare(0, length, start, 0, length) == 0 && std::count(contents.begin(), contents.end(), '\n') < 2;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

/// A lock on a folder itself, which the system takes back when the process ends, however it ends. File systems that
/// can't lock folders don't keep anyone from running; the journal has a lock of its own.
class RunDirectory::Lock {
 public:
  explicit Lock(const std::string& path)
      : descriptor_(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
        gone_(descriptor_ < 0 && errno == ENOENT) {}
  ~Lock() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  /// False when another process holds it, or held it a moment ago and has removed the folder.
  bool take(const std::string& path) const {
    if (descriptor_ < 0) return !gone_;
    if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
    struct stat ours = {}, there = {};
    return fstat(descriptor_, &ours) == 0 && stat(path.c_str(), &there) == 0 && ours.st_ino == there.st_ino;
  }

 private:
  const int descriptor_;
  const bool gone_;
};

RunDirectory::RunDirectory(std::string path) : path_(std::move(path)) {
  while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();  // mkdir takes `run/` for what is inside
}

void RunDirectory::claim(const std::string& flag) {
  const auto lock = std::make_shared<Lock>(path_);
  require(lock->take(path_), "[", flag, "] another process is writing to `", path_, "`");
  lock_ = lock;
}

/// Whether all that the folder holds is what a run writes before its first checkpoint.
bool RunDirectory::never_began() const {
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    const bool ours = (name == "config.toml" && read_file(config()).starts_with("# stagewise ")) ||
                      (name == "journal.jsonl" && is_file_beginning_with(journal(), "{\"event\":")) ||
                      (name == "plans.json" && read_file(plans()).find("\"stagewise plans ") != std::string::npos) ||
                      is_partial_name(name);
    if (!ours) return false;
  }
  return !error;
}

void RunDirectory::check_free(const std::string& path) {
  const std::string wanted = path.empty() ? "runs" : path;
  const std::string nearest = nearest_existing(wanted);
  std::error_code error;
  require(fs::is_directory(nearest, error), "[--out] `", nearest, "` is a file: use another --out");
  const bool writable = faccessat(AT_FDCWD, nearest.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
  require(writable, "[--out] cannot write to `", nearest, "`: ", std::strerror(errno));
  if (path.empty() || !fs::exists(path, error)) return;
  const RunDirectory run(path);
  require(!run.has_checkpoint(), "[--out] `", path, "` holds a run already: go on with --resume ", path,
          ", or use another --out");
  require(run.never_began(), "[--out] `", path, "` isn't empty: use another --out");
}

RunDirectory RunDirectory::create(const std::string& path, const std::string& command) {
  RunDirectory run(path);
  if (path.empty()) {
    const std::string first = default_path(command);
    run.path_ = first;
    for (int number = 2; !make_folder(run.path_); ++number) run.path_ = first + "-" + std::to_string(number);
    run.made_ = true;
    run.claim("--out");
    return run;
  }
  check_free(path);
  run.made_ = make_folder(run.path_);
  run.claim("--out");
  check_free(path);  // again, now that nobody else can change it
  run.remove_beginnings();
  return run;
}

RunDirectory RunDirectory::resume(const std::string& path) {
  RunDirectory run(path);
  require(run.has_checkpoint(), "[--resume] no run to go on with: there is no `", run.checkpoint(),
          "`; start one with --out ", path);
  run.claim("--resume");
  remove_partial_files(run.path_);
  return run;
}

bool RunDirectory::holds_file(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

void RunDirectory::remove_beginnings() const noexcept {
  std::error_code error;
  for (const std::string& file : {config(), plans(), journal(), checkpoint()}) fs::remove(file, error);
  remove_partial_files(path_);
}

void RunDirectory::discard() const noexcept {
  std::error_code error;
  remove_beginnings();
  if (made_) fs::remove(path_, error);
}

}  // namespace stagewise
