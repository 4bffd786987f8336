// What is in a folder, in an order that doesn't depend on the file system.
#pragma once

#include <algorithm>
#include <filesystem>
#include <vector>

namespace stagewise {

/// With what the folder itself says of them: asking for each file's kind takes longer than all the rest.
inline std::vector<std::filesystem::directory_entry> sorted_entries(const std::filesystem::path& folder) {
  std::vector<std::filesystem::directory_entry> entries;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) entries.push_back(entry);
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.path().filename().string() < b.path().filename().string(); });
  return entries;
}

inline bool is_hidden(const std::filesystem::path& path) { return path.filename().string().front() == '.'; }

}  // namespace stagewise
