#include "datasets/image_folder.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <exception>
#include <filesystem>
#include <mutex>
#include <thread>

#include "tensor/error.h"
#include "tensor/text.h"

namespace stagewise {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kExamples = 5;  // of files, in messages

/// `3 files: a, b, c` or `9 files: a, b, c, d, e, ...`
std::string count_and_examples(const std::vector<std::string>& items, const std::string& what,
                               const char* separator = ", ") {
  std::string text = concat(items.size(), ' ', what);
  for (std::size_t i = 0; i < std::min(items.size(), kExamples); ++i) text += (i > 0 ? separator : "") + items[i];
  return items.size() > kExamples ? text + separator + "..." : text;
}

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end(),
            [](const fs::path& a, const fs::path& b) { return a.filename().string() < b.filename().string(); });
  return entries;
}

bool is_hidden(const fs::path& path) { return path.filename().string().front() == '.'; }

/// Also pictures in formats that aren't read: they are refused by name, rather than missed in silence.
bool is_image(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  constexpr const char* kExtensions[] = {".jpg",  ".jpeg", ".png",  ".bmp",  ".ppm", ".pgm",  ".pnm",  ".pbm", ".gif",
                                         ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".jfif", ".jpe", ".jp2",
                                         ".jxl",  ".svg",  ".tga",  ".ico",  ".dng", ".cr2",  ".nef",  ".arw"};
  return fs::is_regular_file(path) &&
         std::find(std::begin(kExtensions), std::end(kExtensions), extension) != std::end(kExtensions);
}

/// Adds the images in `folder` and the folders below it, in the order of their names, and the other files.
void list_images(const fs::path& folder, std::vector<std::string>& images, std::vector<std::string>& passed_over,
                 int depth = 0) {
  require(depth < 16, "[dataset] ", printable(folder.string()), " lies 16 folders deep: does a link lead back up?");
  for (const fs::path& entry : sorted_entries(folder)) {
    if (is_hidden(entry)) {
      passed_over.push_back(printable(entry.string()));
    } else if (fs::is_directory(entry)) {
      list_images(entry, images, passed_over, depth + 1);
    } else if (is_image(entry)) {
      images.push_back(entry.string());
    } else {
      passed_over.push_back(printable(entry.string()));
    }
  }
}

/// train/, val/ or test/: which images there are, before any is read.
struct Listing {
  std::vector<std::string> classes;  // sorted
  std::vector<std::string> files;    // by class, then name
  std::vector<std::int32_t> labels;  // of the files: indices into classes
};

/// Lists `folder`/CLASS/**; adds what isn't an image to `passed_over`.
Listing list_classes(const fs::path& folder, std::vector<std::string>& passed_over) {
  Listing listing;
  for (const fs::path& entry : sorted_entries(folder)) {
    if (is_hidden(entry) || !fs::is_directory(entry)) {
      passed_over.push_back(printable(entry.string()));
      continue;
    }
    require(is_utf8(entry.filename().string()), "[dataset] expected class folders with names in UTF-8, got ",
            printable(entry.string()), ": rename it");  // no result could be written with such a name
    const std::size_t before = listing.files.size();
    list_images(entry, listing.files, passed_over);
    require(listing.files.size() > before, "[dataset] the class folder ", printable(entry.string()),
            " holds no images: add some, or remove it");
    listing.labels.resize(listing.files.size(), static_cast<std::int32_t>(listing.classes.size()));
    listing.classes.push_back(entry.filename().string());
  }
  return listing;
}

/// Lists what `folder` holds of the classes of `train_folder`, if there is such a folder.
Listing list_known_classes(const fs::path& folder, const fs::path& train_folder, const Listing& train,
                           std::vector<std::string>& passed_over) {
  if (!fs::is_directory(folder)) return {};
  Listing listing = list_classes(folder, passed_over);
  for (std::int32_t& label : listing.labels) {
    const std::string& name = listing.classes[static_cast<std::size_t>(label)];
    const auto found = std::lower_bound(train.classes.begin(), train.classes.end(), name);
    require(found != train.classes.end() && *found == name, "[dataset] ", printable((folder / name).string()),
            " is a class that ", printable(train_folder.string()), " lacks");
    label = static_cast<std::int32_t>(found - train.classes.begin());
  }
  return listing;
}

/// The one folder of images to validate on that `folder` has, or an empty path.
fs::path validation_folder(const fs::path& folder) {
  fs::path found;
  for (const char* const name : {"val", "valid", "validation"}) {
    if (!fs::is_directory(folder / name)) continue;
    require(found.empty(), "[dataset] expected one folder of images to validate on, got ", printable(found.string()),
            " and ", printable((folder / name).string()));
    found = folder / name;
  }
  return found;
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

/// Decodes all files into `pixels`, one after another; returns for each file why it can't be decoded, or "".
std::vector<std::string> decode(const std::vector<std::string>& files, const DatasetOptions& options,
                                std::vector<std::uint8_t>& pixels) {
  const auto count = static_cast<std::int64_t>(files.size()), step = std::max<std::int64_t>(count / 100, 1);
  const std::int64_t side = options.image_size, image_bytes = side * side * 3;
  const int threads = options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
  pixels.resize(static_cast<std::size_t>(count * image_bytes));
  std::vector<std::string> problems(files.size());
  std::mutex progress_mutex;
  std::int64_t done = 0;
  for_each_in_parallel(count, std::max(threads, 1), [&](std::int64_t i) {
    try {
      const std::vector<std::uint8_t> image = read_image(files[static_cast<std::size_t>(i)], side, side);
      std::copy(image.begin(), image.end(), pixels.begin() + i * image_bytes);
    } catch (const Error& error) {
      problems[static_cast<std::size_t>(i)] = error.what();
    }
    const std::lock_guard lock(progress_mutex);
    ++done;
    if (options.progress && (done % step == 0 || done == count)) options.progress("decoding images", done, count);
  });
  return problems;
}

/// The listed images, decoded. Files that can't be are an Error, or left out and named in a remark.
Images load(const Listing& listing, const DatasetOptions& options, std::vector<std::string>& remarks) {
  Images images{.height = options.image_size, .width = options.image_size, .channels = 3};
  const std::vector<std::string> problems = decode(listing.files, options, images.pixels);
  std::vector<std::string> unreadable;
  std::copy_if(problems.begin(), problems.end(), std::back_inserter(unreadable),
               [](const std::string& problem) { return !problem.empty(); });
  images.labels = listing.labels;
  if (unreadable.empty()) return images;
  const std::string message =
      count_and_examples(unreadable, concat("of ", problems.size(), " images can't be read:\n    "), "\n    ");
  require(options.skip_unreadable, "[dataset] ", message, "\n  --skip-unreadable leaves such images out");
  remarks.push_back("left out: " + message);

  images.labels.clear();
  const std::int64_t size = images.image_bytes();
  for (std::size_t i = 0; i < problems.size(); ++i) {
    if (!problems[i].empty()) continue;
    const auto from = images.pixels.begin() + static_cast<std::int64_t>(i) * size;
    std::copy(from, from + size, images.pixels.begin() + images.count() * size);
    images.labels.push_back(listing.labels[i]);
  }
  images.pixels.resize(static_cast<std::size_t>(images.count() * size));
  require(images.count() > 0, "[dataset] no image is left: ", message);
  return images;
}

void append(Images& images, const Images& more) {
  images.pixels.insert(images.pixels.end(), more.pixels.begin(), more.pixels.end());
  images.labels.insert(images.labels.end(), more.labels.begin(), more.labels.end());
}

void read_train(Dataset& dataset, const Listing& train, const Listing& validation, const DatasetOptions& options) {
  dataset.train = load(train, options, dataset.remarks);
  for (std::size_t label = 0; label < dataset.classes.size(); ++label) {
    const auto& labels = dataset.train.labels;
    const std::string unreadable = dataset.remarks.empty() ? "" : dataset.remarks.back();
    require(std::find(labels.begin(), labels.end(), static_cast<std::int32_t>(label)) != labels.end(),
            "[dataset] of the class `", printable(dataset.classes[label]), "` no image is left: ", unreadable);
  }
  if (validation.files.empty()) return;
  const Images held_out = load(validation, options, dataset.remarks);
  append(dataset.train, held_out);
  dataset.held_out = held_out.count();
}

}  // namespace

Dataset open_image_folder(const std::string& folder, const DatasetOptions& options) {
  const fs::path train_folder = fs::path(folder) / "train", test_folder = fs::path(folder) / "test";
  require(options.image_size >= 1 && options.image_size <= 1024,
          "[dataset] expected an image size from 1 to 1024, got ", options.image_size);
  require(options.threads >= 0 && options.threads <= 1024, "[dataset] expected 0 to 1024 threads, got ",
          options.threads);
  std::vector<std::string> passed_over;
  const Listing train = list_classes(train_folder, passed_over);
  require(!train.files.empty(), "[dataset] expected folders with images in ", printable(train_folder.string()),
          ", one a class: found none");
  require(train.classes.size() >= 2 || !options.read_train, "[dataset] expected at least two classes to tell apart, ",
          printable(train_folder.string()), " has only the folder `", train.classes.front(), "`");
  const Listing validation = list_known_classes(validation_folder(folder), train_folder, train, passed_over);
  const Listing test = list_known_classes(test_folder, train_folder, train, passed_over);

  Dataset dataset{.description = "images in " + printable(folder), .classes = train.classes};
  if (!passed_over.empty()) dataset.remarks.push_back(count_and_examples(passed_over, "entries passed over: "));
  dataset.train = {.height = options.image_size, .width = options.image_size};
  if (options.read_train) read_train(dataset, train, validation, options);
  if (!test.files.empty()) {
    dataset.load_test = [test, options] {
      std::vector<std::string> remarks;
      Images images = load(test, options, remarks);
      for (const std::string& remark : remarks) {
        if (options.remark) options.remark(remark);
      }
      return images;
    };
  }
  return dataset;
}

}  // namespace stagewise
