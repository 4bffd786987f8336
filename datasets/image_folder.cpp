#include "datasets/image_folder.h"

#include <algorithm>
#include <filesystem>

#include "datasets/folder_entries.h"
#include "datasets/image_files.h"
#include "datasets/image_source.h"
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
  for (const fs::directory_entry& entry : sorted_entries(folder)) {
    const std::string path = entry.path().string(), name = entry.path().filename().string();
    if (is_hidden(path) || !entry.is_directory()) {
      passed_over.push_back(printable(path));
      continue;
    }
    require(is_utf8(name), "[dataset] expected class folders with names in UTF-8, got ", printable(path),
            ": rename it");  // no result could be written with such a name
    const std::size_t before = listing.files.size();
    list_images(path, listing.files, passed_over);
    require(listing.files.size() > before, "[dataset] the class folder ", printable(path),
            " holds no images: add some, or remove it");
    listing.labels.resize(listing.files.size(), static_cast<std::int32_t>(listing.classes.size()));
    listing.classes.push_back(name);
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

/// Images, and where each of them stands in the listing.
struct LoadedImages {
  Images images;
  std::vector<std::int32_t> places;
};

std::int64_t bytes_of(const Listing& listing, const DatasetOptions& options) {
  return std::ssize(listing.files) * options.image_size * options.image_size * 3;
}

/// Decodes the listed images where they fit, else reads them once, to see that they can be. Returns why each can't be,
/// or "".
std::vector<std::string> look_at(const Listing& listing, const DatasetOptions& options, Images& images) {
  const std::int64_t side = options.image_size;
  if (bytes_of(listing, options) <= options.cache / 2) {
    auto [pixels, problems] = decode_images(listing.files, side, side, options.threads, options.progress);
    images.pixels = std::move(pixels);
    return problems;
  }
  images.source = std::make_shared<ImageSource>(listing.files, side, side, options.threads, options.cache);
  return images.source->scan(label_digest(images), options.progress);
}

/// The listed images. Files that can't be read are an Error, or left out and named in a remark.
LoadedImages load(const Listing& listing, const DatasetOptions& options, std::vector<std::string>& remarks) {
  LoadedImages loaded{.images = {.height = options.image_size,
                                 .width = options.image_size,
                                 .channels = 3,
                                 .pixels = {},
                                 .labels = listing.labels},
                      .places = {}};
  const std::vector<std::string> problems = look_at(listing, options, loaded.images);
  std::vector<std::string> unreadable;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    if (problems[i].empty()) {
      loaded.places.push_back(static_cast<std::int32_t>(i));
    } else {
      unreadable.push_back(problems[i]);
    }
  }
  if (unreadable.empty()) return loaded;
  const std::string message =
      count_and_examples(unreadable, concat("of ", problems.size(), " images can't be read:\n    "), "\n    ");
  require(options.skip_unreadable, "[dataset] ", message, "\n  --skip-unreadable leaves such images out");
  remarks.push_back("left out: " + message);
  require(!loaded.places.empty(), "[dataset] no image is left: ", message);
  keep(loaded.images, loaded.places);
  return loaded;
}

/// `listing` and behind it what `more` lists of the same classes.
Listing joined(Listing listing, const Listing& more) {
  listing.files.insert(listing.files.end(), more.files.begin(), more.files.end());
  listing.labels.insert(listing.labels.end(), more.labels.begin(), more.labels.end());
  return listing;
}

std::string gigabytes(std::int64_t bytes) {
  const std::int64_t tenths = (bytes + 50'000'000) / 100'000'000;
  return concat(tenths / 10, '.', tenths % 10, " GB");
}

void read_train(Dataset& dataset, const Listing& train, const Listing& validation, const DatasetOptions& options) {
  auto [images, places] = load(joined(train, validation), options, dataset.remarks);
  const auto first_held_out = std::lower_bound(places.begin(), places.end(), std::ssize(train.files));
  dataset.held_out = places.end() - first_held_out;
  const auto trained_on = images.labels.end() - dataset.held_out;
  for (std::size_t label = 0; label < dataset.classes.size(); ++label) {
    const std::string unreadable = dataset.remarks.empty() ? "" : dataset.remarks.back();
    require(std::find(images.labels.begin(), trained_on, static_cast<std::int32_t>(label)) != trained_on,
            "[dataset] of the class `", printable(dataset.classes[label]), "` no image is left: ", unreadable);
  }
  if (images.source != nullptr) {
    // Once more where some were left out: all that follows is about those that are there.
    if (!images.source->scanned()) images.source->scan(label_digest(images), options.progress);
    const std::int64_t all = images.count() * images.image_bytes();
    dataset.remarks.push_back(concat("decoded, they take ", gigabytes(all), "; ",
                                     gigabytes(std::min(all, options.cache)),
                                     " of memory are for that (--cache): the others are decoded when they are needed"));
  }
  dataset.train = std::move(images);
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
    Images images = load(test, options, remarks).images;
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
  DatasetOptions of_test = options;
  of_test.cache -= std::min(of_test.cache, dataset.train.count() * dataset.train.image_bytes());
  dataset.load_test = loader_of(test, of_test);
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
