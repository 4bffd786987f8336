#include "search/run/directory.h"

#include <ctime>
#include <filesystem>

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
  const std::string path = "runs/" + command + "-" + stamp;
  std::string free_path = path;
  for (int number = 2; fs::exists(free_path); ++number) free_path = path + "-" + std::to_string(number);
  return free_path;
}

}  // namespace

void RunDirectory::check_free(const std::string& path) {
  std::error_code error;
  if (path.empty() || !fs::exists(path, error)) return;
  require(fs::is_directory(path, error), "[--out] `", path, "` is a file: use another --out");
  require(!RunDirectory(path).has_checkpoint(), "[--out] `", path, "` holds a run already: go on with --resume ", path,
          ", or use another --out");
  require(fs::is_empty(path, error) && !error, "[--out] `", path, "` isn't empty: use another --out");
}

RunDirectory RunDirectory::create(const std::string& path, const std::string& command) {
  check_free(path);
  RunDirectory run(path.empty() ? default_path(command) : path);
  std::error_code error;
  run.made_ = fs::create_directories(run.path_, error);
  require(!error && fs::is_directory(run.path_), "[--out] cannot make the folder `", run.path_, "`: ", error.message());
  return run;
}

RunDirectory RunDirectory::resume(const std::string& path) {
  RunDirectory run(path);
  require(run.has_checkpoint(), "[--resume] no run to go on with: there is no `", run.checkpoint(), "`");
  return run;
}

bool RunDirectory::holds_file(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

void RunDirectory::discard() const noexcept {
  std::error_code error;
  for (const std::string& file : {config(), journal(), checkpoint()}) fs::remove(file, error);
  if (made_) fs::remove(path_, error);
}

}  // namespace stagewise
