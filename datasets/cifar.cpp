#include "datasets/cifar.h"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "tensor/atomic_file.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace stagewise {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSide = 32, kPlane = kSide * kSide, kChannels = 3;
constexpr std::int64_t kPublishedTrainingImages = 50'000;

std::int64_t record_bytes(const CifarFormat& format) { return format.label_bytes + kChannels * kPlane; }

/// Throws unless so many bytes are whole records.
void check_size(std::int64_t bytes, const CifarFormat& format, const std::string& path) {
  const std::int64_t record = record_bytes(format);
  const std::int64_t whole = std::max<std::int64_t>(bytes / record + (bytes % record != 0 ? 1 : 0), 1) * record;
  require(bytes == whole, "[dataset] ", path, ": expected ", whole, " bytes (", whole / record, " records of ", record,
          "), got ", bytes, ": the file is truncated or not ", format.name);
}

/// Throws unless the file is there and holds whole records.
void check_file(const fs::path& path, const CifarFormat& format) {
  require(fs::is_regular_file(path), "[dataset] ", format.name, " needs the file ", path.string(),
          ", which is not there");
  check_size(static_cast<std::int64_t>(fs::file_size(path)), format, path.string());
}

Images no_images() { return {.height = kSide, .width = kSide, .channels = kChannels}; }

/// Adds the images of one file.
void append(std::string_view contents, const CifarFormat& format, const std::string& path, Images& images) {
  check_size(std::ssize(contents), format, path);
  const auto* bytes = reinterpret_cast<const unsigned char*>(contents.data());
  const auto records = std::ssize(contents) / record_bytes(format);
  auto out = static_cast<std::int64_t>(images.pixels.size());
  images.pixels.resize(images.pixels.size() + static_cast<std::size_t>(records * kChannels * kPlane));
  for (std::int64_t i = 0; i < records; ++i) {
    const unsigned char* planes = bytes + i * record_bytes(format) + format.label_bytes;
    const int label = planes[-1];
    require(label < format.classes, "[dataset] ", path, ": expected labels from 0 to ", format.classes - 1, ", got ",
            label, " in record ", i);
    images.labels.push_back(label);
    for (std::int64_t pixel = 0; pixel < kPlane; ++pixel) {
      for (std::int64_t c = 0; c < kChannels; ++c) images.pixels[out++] = planes[c * kPlane + pixel];
    }
  }
}

Images read_files(const std::string& folder, const CifarFormat& format, const std::vector<std::string>& files) {
  Images images = no_images();
  for (const std::string& file : files) {
    const fs::path path = fs::path(folder) / file;
    check_file(path, format);
    append(read_file(path.string()), format, path.string(), images);
  }
  return images;
}

std::vector<std::string> class_names(const fs::path& path, const CifarFormat& format) {
  if (!fs::exists(path)) return format.default_names;
  return parse_class_names(read_file(path.string()), format, path.string());
}

}  // namespace

Images parse_cifar(std::string_view contents, const CifarFormat& format, const std::string& path) {
  Images images = no_images();
  append(contents, format, path, images);
  return images;
}

std::vector<std::string> parse_class_names(std::string_view contents, const CifarFormat& format,
                                           const std::string& path) {
  std::vector<std::string> names;
  std::istringstream lines{std::string(contents)};
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    require(is_utf8(line), "[dataset] ", path, ": expected class names in UTF-8, got `", line, "`");
    if (!line.empty()) names.push_back(line);
  }
  require(static_cast<std::int64_t>(names.size()) == format.classes, "[dataset] ", path, ": expected ", format.classes,
          " class names, one a line, got ", names.size());
  return names;
}

const CifarFormat& cifar10_format() {
  static const CifarFormat format{
      .name = "CIFAR-10",
      .folder = "cifar-10-batches-bin",
      .classes = 10,
      .label_bytes = 1,
      .train_files = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                      "data_batch_5.bin"},
      .test_file = "test_batch.bin",
      .names_file = "batches.meta.txt",
      .default_names = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}};
  return format;
}

const CifarFormat& cifar100_format() {
  static const CifarFormat format = [] {
    CifarFormat result{.name = "CIFAR-100",
                       .folder = "cifar-100-binary",
                       .classes = 100,
                       .label_bytes = 2,
                       .train_files = {"train.bin"},
                       .test_file = "test.bin",
                       .names_file = "fine_label_names.txt",
                       .default_names = {}};
    for (int i = 0; i < 100; ++i) result.default_names.push_back(concat("class_", i));
    return result;
  }();
  return format;
}

bool holds_cifar(const std::string& folder, const CifarFormat& format) {
  const auto is_there = [&folder](const std::string& file) { return fs::exists(fs::path(folder) / file); };
  return is_there(format.test_file) || std::any_of(format.train_files.begin(), format.train_files.end(), is_there);
}

Dataset open_cifar(const std::string& folder, const CifarFormat& format, bool read_train) {
  check_file(fs::path(folder) / format.test_file, format);
  Dataset dataset{.description = format.name,
                  .classes = class_names(fs::path(folder) / format.names_file, format),
                  .train = read_files(folder, format, read_train ? format.train_files : std::vector<std::string>()),
                  .load_test = [folder, format] { return read_files(folder, format, {format.test_file}); },
                  .remarks = {}};
  if (read_train && dataset.train.count() != kPublishedTrainingImages) {
    dataset.remarks.push_back(concat(printable(folder), " holds ", dataset.train.count(),
                                     " training images; the published ", format.name, " has ",
                                     kPublishedTrainingImages));
  }
  return dataset;
}

}  // namespace stagewise
