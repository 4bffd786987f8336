#include "datasets/fingerprint.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <iomanip>
#include <sstream>

#include "tensor/error.h"

namespace stagewise {
namespace {

constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F, kPrime3 = 0x165667B19E3779F9,
                        kPrime4 = 0x85EBCA77C2B2AE63, kPrime5 = 0x27D4EB2F165667C5;

template <class T>
T little_endian(const unsigned char* bytes) {
  static_assert(std::endian::native == std::endian::little, "xxh64 needs its bytes swapped here");
  T number;
  std::memcpy(&number, bytes, sizeof number);
  return number;
}

std::uint64_t xxh_round(std::uint64_t lane, std::uint64_t input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

/// `1 image`, `2 images`.

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

}  // namespace

std::uint64_t xxh64(const void* bytes, std::size_t count, std::uint64_t seed) {
  const auto* at = static_cast<const unsigned char*>(bytes);
  const unsigned char* const end = at + count;
  std::uint64_t hash = seed + kPrime5;
  if (count >= 32) {  // four lanes that don't wait for one another
    std::array<std::uint64_t, 4> lanes = {seed + kPrime1 + kPrime2, seed + kPrime2, seed, seed - kPrime1};
    for (; end - at >= 32; at += 32) {
      for (std::size_t i = 0; i < 4; ++i) lanes[i] = xxh_round(lanes[i], little_endian<std::uint64_t>(at + 8 * i));
    }
    hash = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) + std::rotl(lanes[3], 18);
    for (const std::uint64_t lane : lanes) hash = (hash ^ xxh_round(0, lane)) * kPrime1 + kPrime4;
  }
  hash += count;
  for (; end - at >= 8; at += 8) {
    hash = std::rotl(hash ^ xxh_round(0, little_endian<std::uint64_t>(at)), 27) * kPrime1 + kPrime4;
  }
  if (end - at >= 4) {
    hash = std::rotl(hash ^ little_endian<std::uint32_t>(at) * kPrime1, 23) * kPrime2 + kPrime3;
    at += 4;
  }
  for (; at < end; ++at) hash = std::rotl(hash ^ *at * kPrime5, 11) * kPrime1;
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

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
  const std::uint64_t labels = xxh64(train.labels.data(), train.labels.size() * sizeof(std::int32_t));
  const std::uint64_t digest = xxh64(train.pixels.data(), train.pixels.size(), labels);
  std::ostringstream text;
  text << std::hex << std::setfill('0') << std::setw(16) << digest;
  fingerprint.digest = text.str();
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
