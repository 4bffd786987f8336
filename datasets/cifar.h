// The binary versions of CIFAR-10 and CIFAR-100: https://www.cs.toronto.edu/~kriz/cifar.html
#pragma once

#include <string>
#include <string_view>

#include "datasets/dataset.h"

namespace stagewise {

/// A record is `label_bytes` labels, the last of which counts, then 32x32 red, green and blue bytes, plane by plane.
struct CifarFormat {
  std::string name, folder;  // `CIFAR-10`, the folder its archive unpacks to
  std::int64_t classes, label_bytes;
  std::vector<std::string> train_files;
  std::string test_file, names_file;
  std::vector<std::string> default_names;  // of the classes, where there is no names file
};

const CifarFormat& cifar10_format();
/// With the 100 fine labels.
const CifarFormat& cifar100_format();

/// Whether `folder` holds at least one of the format's image files.
bool holds_cifar(const std::string& folder, const CifarFormat& format);

/// Reads the training files, unless `read_train` is false; the test file is only checked to be there and of a sound
/// size. Files of fewer records than the published ones are welcome. Errors: throws Error naming the file that is
/// missing, that ends within a record (with the bytes expected and found), or that has a label out of range.
Dataset open_cifar(const std::string& folder, const CifarFormat& format, bool read_train);

/// The images in one file's contents, and the class names in a names file's; `path` is what errors call it. Errors: as
/// open_cifar(); class names that aren't UTF-8, or more or fewer than there are classes.
Images parse_cifar(std::string_view contents, const CifarFormat& format, const std::string& path);
std::vector<std::string> parse_class_names(std::string_view contents, const CifarFormat& format,
                                           const std::string& path);

}  // namespace stagewise
