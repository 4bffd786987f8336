#include "tensor/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "tensor/error.h"

namespace stagewise {
namespace {

constexpr const char* kPartial = ".partial-";
constexpr std::size_t kWaitingBytes = std::size_t{1} << 16;  // a network has hundreds of tensors, most of them small

[[noreturn]] void fail_with_errno(const char* what, const std::string& path) {
  const int code = errno;
  fail("can't ", what, " ", path, ": ", std::generic_category().message(code));
}

/// Makes a rename last through a power cut. Not every file system can flush a folder, and the file is whole already,
/// so a failure here is none of the caller's business.
void flush_folder_of(const std::string& path) {
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) folder = ".";
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  static std::atomic<unsigned> next_number{0};
  do {  // a name that is taken was left by a process that was killed and had this one's number
    temporary_ = concat(path_, kPartial, ::getpid(), "-", next_number++);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail_with_errno("write", path_);
  ::flock(descriptor_, LOCK_EX | LOCK_NB);  // for remove_partial_files; who can't lock isn't protected from it
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, std::size_t count) {
  const std::string_view more(static_cast<const char*>(bytes), count);
  if (waiting_.size() + count >= kWaitingBytes) {
    write_now(waiting_);
    waiting_.clear();
    if (count >= kWaitingBytes) return write_now(more);
  }
  waiting_ += more;
}

void AtomicFile::write_now(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno("write", path_);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void AtomicFile::commit() {
  write_now(waiting_);
  if (::fsync(descriptor_) != 0) fail_with_errno("flush", path_);
  if (::close(std::exchange(descriptor_, -1)) != 0) fail_with_errno("write", path_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_with_errno("write", path_);
  temporary_.clear();
  flush_folder_of(path_);
}

bool is_partial_name(const std::string& name) {
  const std::size_t mark = name.rfind(kPartial);
  if (mark == std::string::npos || mark == 0) return false;
  const std::string numbers = name.substr(mark + std::strlen(kPartial));
  const std::size_t dash = numbers.find('-');
  const auto is_number = [](const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  };
  return dash != std::string::npos && is_number(numbers.substr(0, dash)) && is_number(numbers.substr(dash + 1));
}

void remove_partial_files(const std::string& folder) noexcept {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (!is_partial_name(entry->path().filename())) continue;
    const int descriptor = ::open(entry->path().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) continue;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) ::unlink(entry->path().c_str());
    ::close(descriptor);
  }
}

void write_file_atomically(const std::string& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents.data(), contents.size());
  file.commit();
}

std::string read_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_with_errno("read", path);
  std::error_code no_size;  // pipes and devices have none: they are read piece by piece
  const std::uintmax_t size = std::filesystem::file_size(path, no_size);
  // One byte more than the file has, so that its end shows without growing.
  std::string contents(no_size ? std::size_t{1} << 16 : static_cast<std::size_t>(size) + 1, '\0');
  std::size_t length = 0;
  while (true) {
    if (length == contents.size()) contents.resize(2 * contents.size());
    const ssize_t count = ::read(descriptor, contents.data() + length, contents.size() - length);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      const int code = errno;
      ::close(descriptor);
      errno = code;
      if (count < 0) fail_with_errno("read", path);
      break;
    }
    length += static_cast<std::size_t>(count);
  }
  contents.resize(length);
  return contents;
}

}  // namespace stagewise
