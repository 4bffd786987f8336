#include "datasets/image_files.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <exception>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <thread>

#include "datasets/folder_entries.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace stagewise {
namespace {

namespace fs = std::filesystem;

void list(const fs::path& folder, std::vector<std::string>& images, std::vector<std::string>& passed_over, int depth) {
  require(depth < 16, "[dataset] ", printable(folder.string()), " lies 16 folders deep: does a link lead back up?");
  for (const fs::directory_entry& entry : sorted_entries(folder)) {
    const std::string path = entry.path().string();
    if (is_hidden(path)) {
      passed_over.push_back(printable(path));
    } else if (entry.is_directory()) {
      list(path, images, passed_over, depth + 1);
    } else if (entry.is_regular_file() && has_image_name(path)) {
      images.push_back(path);
    } else {
      passed_over.push_back(printable(path));
    }
  }
}

/// Calls work(i) for each i below `count` from several threads; throws what a call threw.
template <class Work>
void for_each_in_parallel(std::int64_t count, int threads, const Work& work) {
  std::atomic<std::int64_t> next{0};
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto run = [&] {
    try {
      for (std::int64_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      next = count;
      const std::lock_guard lock(error_mutex);
      error = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> pool;
    for (std::int64_t i = 1; i < std::min<std::int64_t>(threads, count); ++i) pool.emplace_back(run);
    run();
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace

bool has_image_name(const std::string& path) {
  std::string extension = fs::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  constexpr const char* kExtensions[] = {".jpg",  ".jpeg", ".png",  ".bmp",  ".ppm", ".pgm",  ".pnm",  ".pbm", ".gif",
                                         ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".jfif", ".jpe", ".jp2",
                                         ".jxl",  ".svg",  ".tga",  ".ico",  ".dng", ".cr2",  ".nef",  ".arw"};
  return std::find(std::begin(kExtensions), std::end(kExtensions), extension) != std::end(kExtensions);
}

void list_images(const std::string& folder, std::vector<std::string>& images, std::vector<std::string>& passed_over) {
  list(folder, images, passed_over, 0);
}

DecodedImages decode_images(const std::vector<std::string>& files, std::int64_t height, std::int64_t width, int threads,
                            const ProgressCallback& progress) {
  const auto count = static_cast<std::int64_t>(files.size()), step = std::max<std::int64_t>(count / 100, 1);
  const std::int64_t image_bytes = height * width * 3;
  if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  DecodedImages decoded;
  decoded.pixels.resize(static_cast<std::size_t>(count * image_bytes));
  decoded.problems.resize(files.size());
  std::mutex progress_mutex;
  std::int64_t done = 0;
  for_each_in_parallel(count, std::max(threads, 1), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    try {
      const std::vector<std::uint8_t> image = read_image(files[at], height, width);
      std::copy(image.begin(), image.end(), decoded.pixels.begin() + i * image_bytes);
    } catch (const Error& error) {
      decoded.problems[at] = error.what();
    }
    const std::lock_guard lock(progress_mutex);
    ++done;
    if (progress && (done % step == 0 || done == count)) progress("decoding images", done, count);
  });
  return decoded;
}

}  // namespace stagewise
