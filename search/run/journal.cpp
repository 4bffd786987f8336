#include "search/run/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace stagewise {

Journal::Journal(std::string path, std::int64_t keep) : path_(std::move(path)), bytes_(keep) {
  file_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  require(file_ >= 0, "cannot open `", path_, "`: ", std::strerror(errno));
  try {
    require(flock(file_, LOCK_EX | LOCK_NB) == 0, "another process is writing `", path_, "`");
    struct stat status = {};
    require(fstat(file_, &status) == 0 && status.st_size >= keep, "`", path_, "` has ", status.st_size,
            " bytes, fewer than the ", keep, " that the checkpoint beside it counts: use another --out");
    require(ftruncate(file_, keep) == 0 && lseek(file_, keep, SEEK_SET) == keep, "cannot write `", path_,
            "`: ", std::strerror(errno));
  } catch (...) {
    close(file_);
    throw;
  }
}

Journal::~Journal() { close(file_); }

void Journal::write(const nlohmann::ordered_json& event) {
  const std::string line = event.dump() + "\n";
  std::size_t written = 0;
  while (written < line.size()) {
    const ssize_t count = ::write(file_, line.data() + written, line.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    written += static_cast<std::size_t>(count);
  }
  if (written < line.size() || fsync(file_) != 0) {
    const std::string reason = std::strerror(errno);
    if (ftruncate(file_, bytes_) == 0) lseek(file_, bytes_, SEEK_SET);
    fail("cannot write `", path_, "`: ", reason);
  }
  bytes_ += static_cast<std::int64_t>(line.size());
}

}  // namespace stagewise
