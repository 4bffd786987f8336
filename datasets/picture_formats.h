// The decoders behind decode_picture, a file each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "datasets/picture.h"
#include "tensor/error.h"

namespace stagewise {

enum class ByteOrder { little, big };

/// The whole number of 1 to 4 bytes at `at`. Errors: throws Error when the file ends before; `format` is for the
/// message.
inline std::uint32_t number_at(std::string_view file, std::size_t at, std::size_t bytes, ByteOrder order,
                               const char* format) {
  require(at <= file.size() && bytes <= file.size() - at, "a truncated ", format, ": it ends at byte ", file.size());
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    const std::size_t place = order == ByteOrder::big ? i : bytes - 1 - i;
    number = number << 8 | static_cast<unsigned char>(file[at + place]);
  }
  return number;
}

/// Errors: throws Error for a picture without pixels, or with more than kMaxPixels.
inline void check_size(const char* format, std::int64_t columns, std::int64_t rows) {
  require(columns > 0 && rows > 0, "a ", format, " of ", columns, "x", rows, " pixels");
  require(columns <= kMaxPixels && rows <= kMaxPixels && columns * rows <= kMaxPixels, "a ", format, " of ", columns,
          "x", rows, " pixels, more than ", kMaxPixels);
}

// Each takes a whole file that begins as the format does, and throws Error that says what is wrong with it.

/// JPEG (ITU T.81), baseline or progressive with 8 bits, grey, colour or Adobe's CMYK.
Picture decode_jpeg(std::string_view file);
/// PNG (W3C), all of it.
Picture decode_png(std::string_view file);
/// Windows and OS/2 bitmaps without compression: 1, 4 or 8 bits with a palette, 16, 24 or 32 bits.
Picture decode_bmp(std::string_view file);
/// Netpbm's P2, P3, P5 and P6; samples of up to 16 bits are scaled from the file's own maximum to 255.
Picture decode_pnm(std::string_view file);

/// The orientation, 1 to 8, that an Exif block (a TIFF file in small) notes in its first directory; 1, upright, when it
/// notes none or is broken: then other programs show the picture as it is stored, too.
int exif_orientation(std::string_view tiff);

/// The picture that is stored as `pixels` [rows,columns,3], turned and mirrored as the orientation says.
Picture upright(const std::uint8_t* pixels, std::int64_t rows, std::int64_t columns, int orientation);

}  // namespace stagewise
