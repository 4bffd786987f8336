// What a run was trained on, so that it goes on with the same and with nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/dataset.h"

namespace stagewise {

/// Plain fields, for JSON.
struct DataFingerprint {
  std::vector<std::string> classes;  // in order
  std::vector<std::int64_t> counts;  // training images of each class, those held out too
  std::int64_t held_out = 0;         // how many of them the data holds out itself
  std::int64_t height = 0, width = 0, channels = 0;
  std::string digest;  // 16 hexadecimal digits, of labels and pixels in order

  friend bool operator==(const DataFingerprint&, const DataFingerprint&) = default;
};

/// The fingerprint of a data set's training images; where it lies doesn't count. Errors: throws Error for a label that
/// names no class.
DataFingerprint fingerprint_of(const Dataset& dataset);

/// What differs between the data that a run began with and what is there now, in words: "class `cat` is gone; class
/// `dog` had 50 images, now 51". Empty when nothing does.
std::string difference(const DataFingerprint& was, const DataFingerprint& is);

}  // namespace stagewise
