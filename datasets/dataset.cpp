#include "datasets/dataset.h"

#include <algorithm>
#include <filesystem>

#include "datasets/cifar.h"
#include "datasets/image_folder.h"
#include "datasets/synthetic.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace stagewise {
namespace {

namespace fs = std::filesystem;

/// What a folder holds, for the person who gave the wrong one: `nothing`, or the first names.
std::string contents_of(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(printable(entry.path().filename().string()));
  std::sort(names.begin(), names.end());
  constexpr std::size_t kShown = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kShown) text += concat(" and ", names.size() - kShown, " more");
  return text.empty() ? "nothing" : text;
}

Dataset open_folder(const std::string& folder, const DatasetOptions& options) {
  require(fs::exists(folder), "[dataset] there is no ", folder, " (and it is not the name 'synthetic')");
  require(fs::is_directory(folder), "[dataset] expected a folder, got the file ", folder);
  for (const CifarFormat* format : {&cifar10_format(), &cifar100_format()}) {
    const std::string inner = (fs::path(folder) / format->folder).string();
    if (holds_cifar(folder, *format)) return open_cifar(folder, *format, options.read_train);
    if (fs::is_directory(inner)) return open_cifar(inner, *format, options.read_train);
  }
  const bool train = fs::is_directory(fs::path(folder) / "train"), test = fs::is_directory(fs::path(folder) / "test");
  if (train && options.read_train) return open_image_folder(folder, options);
  if (!options.read_train && (train || test || holds_class_folders(folder))) return open_test_images(folder, options);
  fail("[dataset] looked in ", folder, " for data_batch_1.bin or cifar-10-batches-bin/ (CIFAR-10), train.bin or ",
       "cifar-100-binary/ (CIFAR-100), and train/ (a folder of images for each class); found ", contents_of(folder));
}

}  // namespace

Dataset open_dataset(const std::string& data, const DatasetOptions& options) {
  try {
    Dataset dataset = data == "synthetic" ? synthetic_dataset(options) : open_folder(data, options);
    if (options.read_train) {
      dataset.description += ", " + counted(dataset.train.count() - dataset.held_out, "training image");
    }
    if (dataset.held_out > 0) dataset.description += concat(", ", with_thousands(dataset.held_out), " to validate on");
    dataset.description += concat(", ", counted(std::ssize(dataset.classes), "class", "classes"), ", ",
                                  dataset.train.height, "x", dataset.train.width);
    return dataset;
  } catch (const fs::filesystem_error& error) {
    fail("[dataset] can't read ", data, ": ", error.what());
  }
}

}  // namespace stagewise
