// What must hold for any bytes at all that are given to decode_picture.
#pragma once

#include <malloc.h>

#include <optional>
#include <string>
#include <string_view>

#include "datasets/picture.h"
#include "tensor/error.h"
#include "tests/picture_files.h"

namespace stagewise::fuzz {

struct Outcome {
  std::optional<Picture> picture;
  std::string error;
};

inline Outcome decode(std::string_view file, int memory) {
  ::mallopt(M_PERTURB, memory);  // what fresh memory holds: bytes that nobody wrote differ between two calls
  Outcome outcome;
  try {
    outcome.picture = decode_picture(file);
  } catch (const Error& error) {
    outcome.error = error.what();
  }
  return outcome;
}

/// What is wrong, or "": the file is decoded, twice to the same pixels and as many as its size says, or refused with a
/// reason; nothing else is thrown. Small pictures only, for the speed's sake.
inline std::string what_is_wrong(std::string_view file) {
  const Outcome first = decode(file, 0x55), again = decode(file, 0xAA);
  if (first.picture.has_value() != again.picture.has_value()) return "decoded once, refused once";
  if (!first.picture) return first.error.empty() ? "refused without a reason" : "";
  const Picture& picture = *first.picture;
  if (picture.height < 1 || picture.width < 1 || picture.height * picture.width > kMaxPixels) return "a wrong size";
  if (static_cast<std::int64_t>(picture.pixels.size()) != picture.height * picture.width * 3) return "too few pixels";
  return picture.pixels == again.picture->pixels ? "" : "other pixels the second time";
}

/// A PNG with right checksums, as far as it can be walked through; another file as it is.
inline std::string with_checksums(std::string file) {
  const auto number = [&](std::size_t at) {
    std::size_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(file[at + i]);
    return value;
  };
  if (file.substr(0, 4) != "\x89PNG") return file;
  for (std::size_t at = 8; at + 12 <= file.size();) {
    const std::size_t length = number(at);
    if (length > file.size() - at - 12) break;
    file.replace(at + 8 + length, 4, picture_files::big(picture_files::png_crc(file.substr(at + 4, 4 + length)), 4));
    at += 12 + length;
  }
  return file;
}

}  // namespace stagewise::fuzz
