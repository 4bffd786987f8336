// The orientation of photographs: Exif 2.32, 4.6.4, tag 0x0112.
#include "datasets/picture_formats.h"

namespace stagewise {

int exif_orientation(std::string_view tiff) {
  try {
    const bool big = tiff.substr(0, 4) == std::string_view("MM\0*", 4);
    if (!big && tiff.substr(0, 4) != std::string_view("II*\0", 4)) return 1;
    const auto number = [&](std::size_t at, std::size_t bytes) {
      return number_at(tiff, at, bytes, big ? ByteOrder::big : ByteOrder::little, "Exif block");
    };
    const std::size_t directory = number(4, 4), entries = number(directory, 2);
    for (std::size_t i = 0; i < entries; ++i) {
      const std::size_t entry = directory + 2 + 12 * i;  // tag, type, count, value
      constexpr std::uint32_t kOrientation = 0x0112, kShort = 3;
      if (number(entry, 2) != kOrientation) continue;
      const std::uint32_t value = number(entry + 8, 2);
      return number(entry + 2, 2) == kShort && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
  } catch (const Error&) {  // it ends too early
  }
  return 1;
}

Picture upright(const std::uint8_t* pixels, std::int64_t rows, std::int64_t columns, int orientation) {
  // Of the stored picture: 2 is its mirror image, 3 upside down, 4 both; 5 to 8 the same with rows for columns.
  const bool swapped = orientation >= 5;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  Picture picture{.height = swapped ? columns : rows, .width = swapped ? rows : columns, .pixels = {}};
  picture.pixels.resize(static_cast<std::size_t>(rows * columns * 3));
  std::uint8_t* out = picture.pixels.data();
  for (std::int64_t h = 0; h < picture.height; ++h) {
    for (std::int64_t w = 0; w < picture.width; ++w, out += 3) {
      const std::int64_t row = swapped ? w : h, column = swapped ? h : w;
      const std::uint8_t* const in =
          pixels + 3 * ((from_bottom ? rows - 1 - row : row) * columns + (from_right ? columns - 1 - column : column));
      for (int c = 0; c < 3; ++c) out[c] = in[c];
    }
  }
  return picture;
}

}  // namespace stagewise
