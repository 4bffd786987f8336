#include "datasets/fingerprint.h"

#include <algorithm>

#include "datasets/image_source.h"
#include "tensor/error.h"
#include "tensor/xxh64.h"

namespace stagewise {
namespace {

/// Where `name` is in `names`, or their number.
std::size_t place_of(const std::string& name, const std::vector<std::string>& names) {
  return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

/// The first few, one after another.
std::string joined(const std::vector<std::string>& parts) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(parts.size(), kShown); ++i) text += (i > 0 ? "; " : "") + parts[i];
  return parts.size() > kShown ? concat(text, "; and ", parts.size() - kShown, " more differences") : text;
}

/// Of labels and pixels in order.
std::uint64_t digest_of(const Images& images) {
  if (images.source != nullptr && images.source->scanned()) return images.source->scanned()->digest;
  Xxh64 digest(label_digest(images));
  const auto bytes = static_cast<std::size_t>(images.image_bytes());
  for_each_image(images, {}, [&](const std::uint8_t* image) { digest.add(image, bytes); });
  return digest.digest();
}

}  // namespace

DataFingerprint fingerprint_of(const Dataset& dataset) {
  const Images& train = dataset.train;
  DataFingerprint fingerprint{.classes = dataset.classes,
                              .counts = std::vector<std::int64_t>(dataset.classes.size()),
                              .held_out = dataset.held_out,
                              .height = train.height,
                              .width = train.width,
                              .channels = train.channels,
                              .digest = {}};
  for (const std::int32_t label : train.labels) {
    require(label >= 0 && static_cast<std::size_t>(label) < dataset.classes.size(),
            "[fingerprint] expected labels from 0 to ", dataset.classes.size() - 1, ", got ", label);
    ++fingerprint.counts[static_cast<std::size_t>(label)];
  }
  fingerprint.digest = digest_text(digest_of(train));
  return fingerprint;
}

std::string difference(const DataFingerprint& was, const DataFingerprint& is) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < was.classes.size(); ++i) {
    const std::string& name = was.classes[i];
    const std::size_t now = place_of(name, is.classes);
    if (now == is.classes.size()) {
      parts.push_back(concat("class `", name, "` is gone"));
    } else if (was.counts.at(i) != is.counts.at(now)) {
      parts.push_back(concat("class `", name, "` had ", counted(was.counts[i], "image"), ", now ", is.counts[now]));
    }
  }
  for (const std::string& name : is.classes) {
    if (place_of(name, was.classes) == was.classes.size()) parts.push_back(concat("class `", name, "` is new"));
  }
  if (parts.empty() && was.classes != is.classes) {
    const std::size_t first = static_cast<std::size_t>(
        std::mismatch(was.classes.begin(), was.classes.end(), is.classes.begin(), is.classes.end()).first -
        was.classes.begin());
    const auto name = [first](const DataFingerprint& of) { return first < of.classes.size() ? of.classes[first] : ""; };
    parts.push_back(
        concat("the classes' order differs: class ", first, " was `", name(was), "`, now `", name(is), "`"));
  }
  if (was.held_out != is.held_out) {
    parts.push_back(concat(was.held_out, " images were held out by the data, now ", is.held_out));
  }
  if (was.height != is.height || was.width != is.width || was.channels != is.channels) {
    parts.push_back(concat("the images were ", was.height, "x", was.width, "x", was.channels, ", now ", is.height, "x",
                           is.width, "x", is.channels));
  }
  if (parts.empty() && was.digest != is.digest) {
    parts.push_back("the pixels or labels differ, though the counts agree");
  }
  return joined(parts);
}

}  // namespace stagewise
