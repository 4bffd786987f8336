// Which runs the words of a comparison name.
#include <algorithm>
#include <filesystem>

#include "search/report/compare.h"
#include "search/run/directory.h"
#include "search/training/predictions.h"
#include "tensor/error.h"

namespace stagewise {

namespace fs = std::filesystem;

namespace {

bool is_run(const std::string& path) { return RunDirectory::holds_file(path + "/journal.jsonl"); }

/// The folders in `path`, by length and alphabet, so that seed-10 comes after seed-9.
std::vector<std::string> folders_in(const std::string& path) {
  std::vector<std::string> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.is_directory(error)) folders.push_back(entry.path().string());
  }
  std::sort(folders.begin(), folders.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  return folders;
}

std::string name_of_folder(const std::string& path) {
  const fs::path whole = fs::absolute(path).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename();
}

std::vector<std::string> seed_runs_in(const std::string& path) {
  std::vector<std::string> runs;
  for (const std::string& folder : folders_in(path)) {
    if (name_of_folder(folder).starts_with("seed-")) runs.push_back(folder);
  }
  return runs;
}

using NamedFolders = std::pair<std::string, std::vector<std::string>>;

/// An arm's runs, from a run or a folder of seed-*.
std::vector<std::string> runs_of(const std::string& folder) {
  if (is_run(folder)) return {folder};
  const std::vector<std::string> runs = seed_runs_in(folder);
  require(!runs.empty(), "`", folder, "` is no run, and no folder of runs called seed-*");
  return runs;
}

std::vector<NamedFolders> arms_named_by(const std::string& word) {
  if (const auto equals = word.find('='); equals != std::string::npos) {
    NamedFolders arm{word.substr(0, equals), {}};
    for (std::size_t at = equals + 1; at <= word.size();) {
      const std::size_t comma = std::min(word.find(',', at), word.size());
      for (const std::string& run : runs_of(word.substr(at, comma - at))) arm.second.push_back(run);
      at = comma + 1;
    }
    return {arm};
  }
  if (is_run(word) || !seed_runs_in(word).empty()) return {{name_of_folder(word), runs_of(word)}};
  std::vector<NamedFolders> arms;
  for (const std::string& folder : folders_in(word)) {
    if (const auto runs = seed_runs_in(folder); !runs.empty()) arms.emplace_back(name_of_folder(folder), runs);
  }
  std::sort(arms.begin(), arms.end());
  require(!arms.empty(), "expected a run, a folder of runs called seed-*, a sweep's folder, or NAME=RUN,RUN,..., got `",
          word, "`");
  return arms;
}

/// How often each image was right; nothing when a run has kept no predictions. `labels` are those of the runs before,
/// whichever arm's, and are filled in by the first; `same` becomes false when a run has seen others.
ImageShares shares_of(const std::vector<FinishedRun>& runs, std::vector<std::int32_t>& labels, bool& same) {
  ImageShares shares{.seeds = static_cast<int>(runs.size()), .right = {}};
  for (const FinishedRun& run : runs) {
    const std::string file = predictions_file(run.path);
    if (!RunDirectory::holds_file(file)) return {};
    const Predictions predictions = read_predictions(file);
    if (labels.empty()) labels = predictions.labels;
    same = same && predictions.labels == labels;
    if (!same) return {};
    shares.right.resize(labels.size());
    for (std::size_t i = 0; i < labels.size(); ++i) {
      shares.right[i] += predictions.is_right(i) ? 1.0 / shares.seeds : 0.0;
    }
  }
  return shares;
}

}  // namespace

Arms read_arms(const std::vector<std::string>& words) {
  Arms arms;
  std::vector<std::int32_t> labels;
  bool same_images = true;
  for (const std::string& word : words) {
    for (const auto& [name, folders] : arms_named_by(word)) {
      require(
          std::none_of(arms.arms.begin(), arms.arms.end(), [&name = name](const Arm& arm) { return arm.name == name; }),
          "two arms are called `", name, "`: name them, NAME=FOLDER");
      Arm arm{.name = name, .runs = {}, .shares = {}};
      for (const std::string& folder : folders) {
        const auto run = read_run(folder);
        if (!run) {
          arms.left_out.push_back(folder);
          continue;
        }
        require(run->test_accuracy.has_value(), "`", folder, "` has no test accuracy: its data has no test set");
        arm.runs.push_back(*run);
      }
      require(!arm.runs.empty(), "arm `", name, "`: none of its runs is finished");
      arm.shares = shares_of(arm.runs, labels, same_images);
      arms.arms.push_back(std::move(arm));
    }
  }
  if (!same_images) {
    for (Arm& arm : arms.arms) arm.shares = {};
  }
  return arms;
}

}  // namespace stagewise
