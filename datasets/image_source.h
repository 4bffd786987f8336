// Images that stay in their files: decoded when they are asked for, kept in memory as far as there is room, and decoded
// ahead by threads along an order that is known. What comes out doesn't depend on room or threads.
#pragma once

#include <array>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "datasets/dataset.h"

namespace stagewise {

/// Whole numbers over many images, from which their moments follow without the rounding of sums.
struct ImageTotals {
  std::int64_t images = 0;
  std::vector<std::array<std::int64_t, 256>> histograms;  // [C]: how often each channel has each value
  std::vector<std::int64_t> sums;                         // [H,W,C]

  ImageTotals(std::int64_t pixels, std::int64_t channels);
  void add(const std::uint8_t* image);
  void subtract(const ImageTotals& others);
};

/// What a look at all images found out, so that nobody has to look again for it.
struct ImageScan {
  ImageTotals totals;
  std::uint64_t digest = 0;  // Xxh64 of the pixels in order
};

class ImageSource {
 public:
  /// Images of height x width, of which at most `cache` bytes are kept. Nothing is read yet.
  ImageSource(std::vector<std::string> files, std::int64_t height, std::int64_t width, int threads, std::int64_t cache);

  std::int64_t count() const { return static_cast<std::int64_t>(files_.size()); }
  std::int64_t image_bytes() const { return height_ * width_ * 3; }
  int threads() const { return threads_; }

  /// Writes the image at `index`, as read_image() decodes it, to `pixels`. May be called from several threads. Errors:
  /// throws Error with the file's name when it can't be read or decoded (any more).
  void read(std::int64_t index, std::uint8_t* pixels);

  /// Reads all images once. Returns why each can't be read, or "". Where all can, scanned() is there from then on; its
  /// digest begins with `seed`.
  std::vector<std::string> scan(std::uint64_t seed, const ProgressCallback& progress);
  const std::optional<ImageScan>& scanned() const { return scanned_; }

  /// Forgets all images but those at `places`, ascending, which are numbered anew. For who has it to himself.
  void keep(std::span<const std::int32_t> places);

 private:
  std::vector<std::string> files_;
  std::int64_t height_, width_;
  int threads_;
  std::optional<ImageScan> scanned_;
  std::mutex mutex_;                                         // of what follows
  std::int64_t room_;                                        // bytes that may still be kept
  std::vector<std::unique_ptr<const std::uint8_t[]>> kept_;  // by index; once there, one stays
};

/// The images at `order`, one after another. Threads decode ahead, at most some megabytes.
class ReadAhead {
 public:
  ReadAhead(std::shared_ptr<ImageSource> source, std::vector<std::int32_t> order);
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  /// Writes the next image to `pixels`; there must be one. Errors: as ImageSource::read(); the image is passed over.
  void next(std::uint8_t* pixels);

 private:
  struct Place {
    std::vector<std::uint8_t> pixels;
    std::exception_ptr error;
    bool ready = false;
  };

  void work();
  /// Decodes the next image that nobody has begun with. The lock is held before and after.
  void decode(std::unique_lock<std::mutex>& lock);

  const std::shared_ptr<ImageSource> source_;
  const std::vector<std::int32_t> order_;
  std::mutex mutex_;
  std::condition_variable room_, ready_;
  std::vector<Place> ring_;  // image i of the order in place i % size
  std::size_t begun_ = 0, taken_ = 0;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;  // they go before what they work on
};

/// Of the labels: what the digest of images with these labels begins with, before their pixels.
std::uint64_t label_digest(const Images& images);

/// Calls use(pixels) for each of the images at `indices` (of all without any), in that order, wherever they are.
/// `progress` is told how many are done where they have to be decoded. Errors: as ImageSource::read(); throws Error for
/// an index that the images lack.
void for_each_image(const Images& images, std::span<const std::int32_t> indices,
                    const std::function<void(const std::uint8_t*)>& use, const ProgressCallback& progress = {});

/// The images at `indices`, in memory. Errors: as for_each_image().
Images loaded(const Images& images, std::span<const std::int32_t> indices);

/// Only the images at `places`, ascending; where they are doesn't change.
void keep(Images& images, std::span<const std::int32_t> places);

}  // namespace stagewise
