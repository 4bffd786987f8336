// One picture, from a file's bytes to upright RGB.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace stagewise {

/// RGB [height,width,3], the right way up.
struct Picture {
  std::int64_t height = 0, width = 0;
  std::vector<std::uint8_t> pixels;
};

/// No picture has more: a few bytes that announce a huge one must not make us reserve gigabytes.
constexpr std::int64_t kMaxPixels = std::int64_t{1} << 26;

/// Decodes a JPEG, PNG, BMP, PPM or PGM file, which is recognised by its first bytes and not by its name. Grey is
/// repeated in all three channels, transparency dropped (the colours stay as they are stored), 16 bits are cut to 8,
/// and the orientation that a camera noted (Exif's) applied. Errors: throws Error that says what the file is and what
/// is wrong with it, but not its name: another format, truncated, corrupt, or more than kMaxPixels pixels.
Picture decode_picture(std::string_view file);

}  // namespace stagewise
