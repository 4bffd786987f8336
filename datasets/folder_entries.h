// What is in a folder, in an order that doesn't depend on the file system.
#pragma once

#include <algorithm>
#include <filesystem>
#include <vector>

namespace stagewise {

inline std::vector<std::filesystem::path> sorted_entries(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> entries;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.filename().string() < b.filename().string(); });
  return entries;
}

inline bool is_hidden(const std::filesystem::path& path) { return path.filename().string().front() == '.'; }

}  // namespace stagewise
