// Images in bytes with labels: in host memory, or too many for it.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace stagewise {

class ImageSource;

/// Called now and then with how much of `what` is done; may be empty. Called from one thread at a time.
using ProgressCallback = std::function<void(const std::string& what, std::int64_t done, std::int64_t total)>;

/// for_each_image() and loaded() of datasets/image_source.h look at them, wherever they are.
struct Images {
  std::int64_t height = 0, width = 0, channels = 3;
  std::vector<std::uint8_t> pixels;  // NHWC; none where there is a `source`
  std::vector<std::int32_t> labels;
  std::shared_ptr<ImageSource> source = nullptr;  // decodes them when they are asked for: they don't fit into memory
  std::int64_t count() const { return static_cast<std::int64_t>(labels.size()); }
  std::int64_t image_bytes() const { return height * width * channels; }
};

struct Dataset {
  std::string description;           // one line: `CIFAR-10, 50,000 training images, 10 classes, 32x32`
  std::vector<std::string> classes;  // a label is an index into these
  Images train;                      // no images, only their sizes, where the options leave them out
  std::int64_t held_out = 0;         // so many at the end of `train` are for validation only: the data says so itself
  /// Reads the test set: kept shut until it is asked for. Empty where the data has none.
  std::function<Images()> load_test;
  /// Remarks for the person (folders passed over, files skipped), a line each.
  std::vector<std::string> remarks;
};

struct DatasetOptions {
  std::int64_t image_size = 32;  // synthetic is 32x32 and CIFAR is 32x32 whatever this says; folders are resized to it
  std::uint64_t seed = 0;        // of the synthetic images
  std::int64_t synthetic_train = 8000, synthetic_test = 2000;
  bool read_train = true;        // false: leave the training images unread, for an evaluation
  bool skip_unreadable = false;  // leave out images that can't be decoded (a remark names them)
  int threads = 0;               // decoding; 0: all cores
  /// Bytes of memory for a folder's decoded images. Where twice as many as they take are there (once more for the
  /// device's, which may lie in the same memory), all are decoded now; else they stay in their files, and as many as fit
  /// are kept once they have been decoded.
  std::int64_t cache = std::numeric_limits<std::int64_t>::max();
  ProgressCallback progress;
  std::function<void(const std::string& line)> remark;  // is told what load_test leaves out; may be empty
};

/// Opens `data`: `synthetic`, a folder with CIFAR-10's or CIFAR-100's binary version (or holding the folder
/// `cifar-10-batches-bin` or `cifar-100-binary`), or a folder with `train/CLASS/*` and perhaps `val/CLASS/*` and
/// `test/CLASS/*`; without `read_train` also `test/CLASS/*` alone, or `CLASS/*`. Errors: throws Error that says what was
/// looked for and what was found, and names the file that is wrong; also for names of classes that aren't UTF-8, which
/// no result could be written with, and for a single class to train on.
Dataset open_dataset(const std::string& data, const DatasetOptions& options = {});

}  // namespace stagewise
