// Bitmaps of Windows and OS/2 (Microsoft, BITMAPINFOHEADER and its kin): a header of 14 bytes, one of 12 to 124, a
// palette or masks, and rows from the bottom up (from the top where the height is negative), padded to four bytes, blue
// first.
#include <array>
#include <bit>

#include "datasets/picture_formats.h"

namespace stagewise {
namespace {

struct BmpHeader {
  std::int64_t columns = 0, rows = 0;
  bool from_top = false;
  std::uint32_t bits = 0, pixels_at = 0;
  std::size_t palette_at = 0, palette_entry = 4, colours = 0;
  std::array<std::uint32_t, 3> masks = {};  // red, green, blue: of 16 and 32 bits
};

class BmpReader {
 public:
  explicit BmpReader(std::string_view file) : file_(file) {}

  std::uint32_t number(std::size_t at, std::size_t bytes) const {
    return number_at(file_, at, bytes, ByteOrder::little, "BMP");
  }

  BmpHeader header() const {
    BmpHeader header;
    header.pixels_at = number(10, 4);
    const std::size_t size = number(14, 4);
    const bool old = size == 12;  // OS/2's
    require(old || (size >= 40 && size <= 124), "a corrupt BMP: it has a header of ", size, " bytes");
    const auto width = old ? number(18, 2) : number(18, 4), height = old ? number(20, 2) : number(22, 4);
    header.columns = static_cast<std::int32_t>(width);
    header.rows = static_cast<std::int32_t>(height);
    header.from_top = header.rows < 0;
    if (header.from_top) header.rows = -header.rows;
    check_size("BMP", header.columns, header.rows);
    header.bits = old ? number(24, 2) : number(28, 2);
    read_colours(header, size);
    return header;
  }

 private:
  void read_colours(BmpHeader& header, std::size_t size) const {
    constexpr std::uint32_t kPlain = 0, kMasks = 3, kMasksAndAlpha = 6;
    const bool old = size == 12;
    const std::uint32_t compression = old ? kPlain : number(30, 4), bits = header.bits;
    const bool masked = compression == kMasks || compression == kMasksAndAlpha;
    require(compression == kPlain || masked, "a compressed BMP (method ", compression, "), which isn't read");
    require(bits == 1 || bits == 4 || bits == 8 || bits == 16 || bits == 24 || bits == 32, "a BMP of ", bits,
            " bits a pixel, which isn't read");
    require(!masked || bits == 16 || bits == 32, "a corrupt BMP: masks for ", bits, " bits a pixel");
    header.palette_at = 14 + size;
    if (bits <= 8) {
      header.palette_entry = old ? 3 : 4;
      const std::uint32_t used = old ? 0 : number(46, 4), most = 1U << bits;
      header.colours = used == 0 ? most : std::min(used, most);
    } else if (masked) {  // right behind the first 40 bytes, which larger headers count as theirs
      for (std::size_t c = 0; c < 3; ++c) header.masks[c] = number(14 + 40 + 4 * c, 4);
    } else if (bits == 16) {
      header.masks = {0x7C00, 0x03E0, 0x001F};
    } else {
      header.masks = {0xFF0000, 0x00FF00, 0x0000FF};
    }
    for (const std::uint32_t mask : header.masks) {
      require(bits <= 8 || mask != 0, "a corrupt BMP: a colour without bits");
    }
  }

  std::string_view file_;
};

/// The bits of `pixel` under `mask`, from all of them set to 255.
std::uint8_t under_mask(std::uint32_t pixel, std::uint32_t mask) {
  const int shift = std::countr_zero(mask);
  const std::uint64_t value = (pixel & mask) >> shift, largest = mask >> shift;
  return static_cast<std::uint8_t>((value * 255 + largest / 2) / largest);
}

}  // namespace

Picture decode_bmp(std::string_view file) {
  const BmpReader reader(file);
  const BmpHeader header = reader.header();
  const auto columns = static_cast<std::size_t>(header.columns), rows = static_cast<std::size_t>(header.rows);
  const std::size_t bits = header.bits, row_bytes = (columns * bits + 31) / 32 * 4;
  require(header.pixels_at <= file.size() && rows * row_bytes <= file.size() - header.pixels_at,
          "a truncated BMP: its ", columns, "x", rows, " pixels of ", bits, " bits need ", rows * row_bytes,
          " bytes from byte ", header.pixels_at, " on, the file has ", file.size());
  Picture picture{.height = header.rows, .width = header.columns, .pixels = {}};
  picture.pixels.reserve(rows * columns * 3);
  for (std::size_t h = 0; h < rows; ++h) {
    const std::size_t row = header.pixels_at + (header.from_top ? h : rows - 1 - h) * row_bytes;
    for (std::size_t w = 0; w < columns; ++w) {
      if (bits > 8) {
        const std::uint32_t pixel = reader.number(row + w * bits / 8, bits / 8);
        for (const std::uint32_t mask : header.masks) picture.pixels.push_back(under_mask(pixel, mask));
        continue;
      }
      const std::uint32_t byte = reader.number(row + w * bits / 8, 1), skipped = 8 - bits - w * bits % 8;
      const std::size_t colour = byte >> skipped & ((1U << bits) - 1);
      require(colour < header.colours, "a corrupt BMP: a pixel of colour ", colour, " in a palette of ",
              header.colours);
      const std::size_t entry = header.palette_at + colour * header.palette_entry;  // blue, green, red
      for (const std::size_t c : {2, 1, 0}) {
        picture.pixels.push_back(static_cast<std::uint8_t>(reader.number(entry + c, 1)));
      }
    }
  }
  return picture;
}

}  // namespace stagewise
