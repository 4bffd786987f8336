// journal.jsonl: everything that happened in a run, one JSON object a line. It alone is enough to redo every decision.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace stagewise {

class Journal {
 public:
  /// Opens `path` for writing behind its first `keep` bytes; what lies beyond them is cut off. Errors: throws Error
  /// when the file can't be opened, is shorter than `keep`, or another process is writing it.
  explicit Journal(std::string path, std::int64_t keep = 0);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// Adds a line and flushes it to the disk. Errors: throws Error when it can't be written; the file then ends where it
  /// ended before.
  void write(const nlohmann::ordered_json& event);
  std::int64_t bytes() const { return bytes_; }

 private:
  std::string path_;
  int file_ = -1;
  std::int64_t bytes_ = 0;
};

}  // namespace stagewise
