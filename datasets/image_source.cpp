#include "datasets/image_source.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "datasets/image_files.h"
#include "tensor/error.h"
#include "tensor/xxh64.h"

namespace stagewise {
namespace {

constexpr std::int64_t kBytesAhead = 32 << 20, kMostAhead = 1024;

std::vector<std::int32_t> first_indices(std::int64_t count) {
  std::vector<std::int32_t> indices;
  for (std::int64_t i = 0; i < count; ++i) indices.push_back(static_cast<std::int32_t>(i));
  return indices;
}

}  // namespace

ImageTotals::ImageTotals(std::int64_t pixels, std::int64_t channels)
    : histograms(static_cast<std::size_t>(channels)), sums(static_cast<std::size_t>(pixels * channels)) {}

void ImageTotals::add(const std::uint8_t* image) {
  ++images;
  const std::size_t channels = histograms.size();
  for (std::size_t i = 0; i < sums.size(); i += channels) {
    for (std::size_t c = 0; c < channels; ++c) ++histograms[c][image[i + c]];
  }
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += image[i];
}

void ImageTotals::subtract(const ImageTotals& others) {
  images -= others.images;
  for (std::size_t c = 0; c < histograms.size(); ++c) {
    for (std::size_t value = 0; value < histograms[c].size(); ++value) {
      histograms[c][value] -= others.histograms[c][value];
    }
  }
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] -= others.sums[i];
}

ImageSource::ImageSource(std::vector<std::string> files, std::int64_t height, std::int64_t width, int threads,
                         std::int64_t cache)
    : files_(std::move(files)),
      height_(height),
      width_(width),
      threads_(threads > 0 ? threads : std::max(static_cast<int>(std::thread::hardware_concurrency()), 1)),
      room_(cache),
      kept_(files_.size()) {}

void ImageSource::read(std::int64_t index, std::uint8_t* pixels) {
  const auto at = static_cast<std::size_t>(index);
  const auto bytes = static_cast<std::size_t>(image_bytes());
  const std::uint8_t* known = nullptr;
  {
    const std::lock_guard lock(mutex_);
    known = kept_[at].get();
  }
  if (known != nullptr) {
    std::copy(known, known + bytes, pixels);
    return;
  }
  const std::vector<std::uint8_t> image = read_image(files_[at], height_, width_);
  std::copy(image.begin(), image.end(), pixels);
  const std::lock_guard lock(mutex_);
  // What is kept stays: epochs come in ever new orders, so the last image to be used is no more likely to be the next.
  if (kept_[at] != nullptr || room_ < image_bytes()) return;
  auto copy = std::make_unique<std::uint8_t[]>(bytes);
  std::copy(image.begin(), image.end(), copy.get());
  kept_[at] = std::move(copy);
  room_ -= image_bytes();
}

std::vector<std::string> ImageSource::scan(std::uint64_t seed, const ProgressCallback& progress) {
  ImageTotals totals(height_ * width_, 3);
  Xxh64 digest(seed);
  std::vector<std::uint8_t> image(static_cast<std::size_t>(image_bytes()));
  std::vector<std::string> problems(files_.size());
  // Not owned: it is gone before this returns.
  ReadAhead images(std::shared_ptr<ImageSource>(std::shared_ptr<void>(), this), first_indices(count()));
  for (std::int64_t i = 0; i < count(); ++i) {
    try {
      images.next(image.data());
      totals.add(image.data());
      digest.add(image.data(), image.size());
    } catch (const OutOfMemory&) {
      throw;
    } catch (const Error& error) {
      problems[static_cast<std::size_t>(i)] = error.what();
    }
    if (progress) progress("reading images", i + 1, count());
  }
  const bool sound = std::all_of(problems.begin(), problems.end(), [](const auto& problem) { return problem.empty(); });
  if (sound) scanned_ = ImageScan{.totals = std::move(totals), .digest = digest.digest()};
  return problems;
}

void ImageSource::keep(std::span<const std::int32_t> places) {
  std::vector<std::string> files;
  std::vector<std::unique_ptr<const std::uint8_t[]>> kept;
  for (const std::int32_t place : places) {
    files.push_back(std::move(files_[static_cast<std::size_t>(place)]));
    kept.push_back(std::move(kept_[static_cast<std::size_t>(place)]));
  }
  for (const auto& gone : kept_) room_ += gone != nullptr ? image_bytes() : 0;
  files_ = std::move(files);
  kept_ = std::move(kept);
  scanned_.reset();
}

ReadAhead::ReadAhead(std::shared_ptr<ImageSource> source, std::vector<std::int32_t> order)
    : source_(std::move(source)), order_(std::move(order)) {
  const auto images = static_cast<std::int64_t>(order_.size()), bytes = source_->image_bytes();
  const std::int64_t threads = std::min<std::int64_t>(source_->threads(), images);
  ring_.resize(static_cast<std::size_t>(
      std::min(std::max(std::min(kBytesAhead / bytes, kMostAhead), 2 * threads), std::max<std::int64_t>(images, 1))));
  for (Place& place : ring_) place.pixels.resize(static_cast<std::size_t>(bytes));
  try {
    for (std::int64_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // The system gives no more threads: those that there are do it, or next() itself.
  }
}

ReadAhead::~ReadAhead() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  room_.notify_all();
}

void ReadAhead::decode(std::unique_lock<std::mutex>& lock) {
  const std::size_t at = begun_++;
  Place& place = ring_[at % ring_.size()];
  lock.unlock();
  try {
    source_->read(order_[at], place.pixels.data());
  } catch (...) {
    place.error = std::current_exception();
  }
  lock.lock();
  place.ready = true;
  ready_.notify_one();
}

void ReadAhead::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    room_.wait(lock, [this] { return stopping_ || begun_ == order_.size() || begun_ < taken_ + ring_.size(); });
    if (stopping_ || begun_ == order_.size()) return;
    decode(lock);
  }
}

void ReadAhead::next(std::uint8_t* pixels) {
  std::unique_lock lock(mutex_);
  require(taken_ < order_.size(), "[images] all ", order_.size(), " images of the order have been read");
  if (begun_ == taken_) decode(lock);
  Place& place = ring_[taken_ % ring_.size()];
  ready_.wait(lock, [&place] { return place.ready; });
  lock.unlock();  // the place is this thread's until it is given back
  std::copy(place.pixels.begin(), place.pixels.end(), pixels);
  const std::exception_ptr error = std::exchange(place.error, nullptr);
  lock.lock();
  place.ready = false;
  ++taken_;
  room_.notify_one();
  if (error) std::rethrow_exception(error);
}

std::uint64_t label_digest(const Images& images) {
  return xxh64(images.labels.data(), images.labels.size() * sizeof(std::int32_t));
}

void for_each_image(const Images& images, std::span<const std::int32_t> indices,
                    const std::function<void(const std::uint8_t*)>& use, const ProgressCallback& progress) {
  const std::vector<std::int32_t> order =
      indices.empty() ? first_indices(images.count()) : std::vector<std::int32_t>(indices.begin(), indices.end());
  for (const std::int32_t index : order) {
    require(index >= 0 && index < images.count(), "[images] expected indices from 0 to ", images.count() - 1, ", got ",
            index);
  }
  if (images.source == nullptr) {
    for (const std::int32_t index : order) use(images.pixels.data() + index * images.image_bytes());
    return;
  }
  ReadAhead ahead(images.source, order);
  std::vector<std::uint8_t> image(static_cast<std::size_t>(images.image_bytes()));
  for (std::size_t i = 0; i < order.size(); ++i) {
    ahead.next(image.data());
    use(image.data());
    if (progress) progress("reading images", static_cast<std::int64_t>(i) + 1, std::ssize(order));
  }
}

Images loaded(const Images& images, std::span<const std::int32_t> indices) {
  Images some{.height = images.height, .width = images.width, .channels = images.channels, .pixels = {}, .labels = {}};
  if (indices.empty()) return some;
  for_each_image(images, indices, [&](const std::uint8_t* image) {
    some.pixels.insert(some.pixels.end(), image, image + images.image_bytes());
  });
  for (const std::int32_t index : indices) some.labels.push_back(images.labels[static_cast<std::size_t>(index)]);
  return some;
}

void keep(Images& images, std::span<const std::int32_t> places) {
  const std::int64_t size = images.image_bytes();
  std::int64_t kept = 0;
  for (const std::int32_t place : places) {
    images.labels[static_cast<std::size_t>(kept)] = images.labels[static_cast<std::size_t>(place)];
    if (images.source == nullptr && kept < place) {
      std::copy_n(images.pixels.begin() + place * size, size, images.pixels.begin() + kept * size);
    }
    ++kept;
  }
  images.labels.resize(static_cast<std::size_t>(kept));
  if (images.source != nullptr) {
    images.source->keep(places);
  } else {
    images.pixels.resize(static_cast<std::size_t>(kept * size));
  }
}

}  // namespace stagewise
