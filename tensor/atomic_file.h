// Files that are whole or not there.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace stagewise {

/// A file written piece by piece, which the system gets in few calls, under a temporary name beside `path`. commit()
/// makes it appear; without it, or when a write fails, the temporary file is removed and what was at `path` stays as it
/// was. Errors: every call throws Error with the path and the system's reason (no space, no such folder).
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, std::size_t count);
  /// Flushes the file to the disk and renames it to `path`. Call it once, last.
  void commit();

 private:
  void write_now(std::string_view bytes);

  std::string path_, temporary_;
  std::string waiting_;  // written already, as the caller sees it
  int descriptor_ = -1;
};

/// Whether `name` is one that an AtomicFile gives its temporary files: FILE.partial-PROCESS-NUMBER.
bool is_partial_name(const std::string& name);

/// Removes the temporary files in `folder` whose writers were killed; those of living writers, which hold a lock on
/// them, stay. Never throws.
void remove_partial_files(const std::string& folder) noexcept;

/// Writes `contents` to `path` through an AtomicFile.
void write_file_atomically(const std::string& path, std::string_view contents);

/// The whole file. Errors: throws Error with the path and the system's reason.
std::string read_file(const std::string& path);

}  // namespace stagewise
