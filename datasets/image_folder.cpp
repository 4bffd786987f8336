#include "datasets/image_folder.h"

#include <algorithm>
#include <filesystem>

#include "datasets/folder_entries.h"
#include "datasets/image_files.h"
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
    list_images(entry.string(), listing.files, passed_over);
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

/// The listed images, decoded. Files that can't be are an Error, or left out and named in a remark.
Images load(const Listing& listing, const DatasetOptions& options, std::vector<std::string>& remarks) {
  const std::int64_t side = options.image_size;
  auto [pixels, problems] = decode_images(listing.files, side, side, options.threads, options.progress);
  Images images{.height = side, .width = side, .channels = 3, .pixels = std::move(pixels)};
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

void check(const DatasetOptions& options) {
  require(options.image_size >= 1 && options.image_size <= 1024,
          "[dataset] expected an image size from 1 to 1024, got ", options.image_size);
  require(options.threads >= 0 && options.threads <= 1024, "[dataset] expected 0 to 1024 threads, got ",
          options.threads);
}

/// Reads the test images when they are asked for.
std::function<Images()> loader_of(const Listing& test, const DatasetOptions& options) {
  if (test.files.empty()) return {};
  return [test, options] {
    std::vector<std::string> remarks;
    Images images = load(test, options, remarks);
    for (const std::string& remark : remarks) {
      if (options.remark) options.remark(remark);
    }
    return images;
  };
}

void remark_passed_over(Dataset& dataset, const std::vector<std::string>& passed_over) {
  if (!passed_over.empty()) dataset.remarks.push_back(count_and_examples(passed_over, "entries passed over: "));
}

}  // namespace

Dataset open_image_folder(const std::string& folder, const DatasetOptions& options) {
  check(options);
  const fs::path train_folder = fs::path(folder) / "train", test_folder = fs::path(folder) / "test";
  std::vector<std::string> passed_over;
  const Listing train = list_classes(train_folder, passed_over);
  require(!train.files.empty(), "[dataset] expected folders with images in ", printable(train_folder.string()),
          ", one a class: found none");
  require(train.classes.size() >= 2, "[dataset] expected at least two classes to tell apart, ",
          printable(train_folder.string()), " has only the folder `", train.classes.front(), "`");
  const Listing validation = list_known_classes(validation_folder(folder), train_folder, train, passed_over);
  const Listing test = list_known_classes(test_folder, train_folder, train, passed_over);

  Dataset dataset{.description = "images in " + printable(folder), .classes = train.classes};
  remark_passed_over(dataset, passed_over);
  dataset.train = {.height = options.image_size, .width = options.image_size};
  read_train(dataset, train, validation, options);
  dataset.load_test = loader_of(test, options);
  return dataset;
}

Dataset open_test_images(const std::string& folder, const DatasetOptions& options) {
  check(options);
  const fs::path train = fs::path(folder) / "train", test = fs::path(folder) / "test";
  const bool only_train = fs::is_directory(train) && !fs::is_directory(test);
  const fs::path classes = only_train ? train : fs::is_directory(test) ? test : fs::path(folder);
  std::vector<std::string> passed_over;
  const Listing listing = list_classes(classes, passed_over);
  require(!listing.files.empty(), "[dataset] expected folders with images in ", printable(classes.string()),
          ", one a class: found none");
  Dataset dataset{.description = "images in " + printable(folder), .classes = listing.classes};
  remark_passed_over(dataset, passed_over);
  dataset.train = {.height = options.image_size, .width = options.image_size};
  if (!only_train) dataset.load_test = loader_of(listing, options);
  return dataset;
}

bool holds_class_folders(const std::string& folder) {
  const auto holds_image = [](const fs::path& path) {
    return fs::is_directory(path) &&
           std::any_of(fs::directory_iterator(path), fs::directory_iterator(),
                       [](const auto& entry) { return has_image_name(entry.path().string()); });
  };
  return std::any_of(fs::directory_iterator(folder), fs::directory_iterator(),
                     [&](const auto& entry) { return holds_image(entry.path()); });
}

}  // namespace stagewise
