// Files of pictures, made as the formats' definitions say and by none of the code that reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tensor/error.h"

namespace stagewise::picture_files {

inline std::string number(std::uint32_t value, int bytes, bool big) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * (big ? bytes - 1 - i : i));
  return text;
}
inline std::string little(std::uint32_t value, int bytes) { return number(value, bytes, false); }
inline std::string big(std::uint32_t value, int bytes) { return number(value, bytes, true); }

/// RGB of a picture that is different in every pixel and looks the same from no two sides.
inline std::vector<std::uint8_t> colours(int columns, int rows) {
  std::vector<std::uint8_t> pixels;
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column) {
      for (const int value : {20 * column + 5, 250 - 30 * row, 10 * (row + 2 * column)}) {
        pixels.push_back(static_cast<std::uint8_t>(value));
      }
    }
  }
  return pixels;
}

/// PNG, 5: the bit-wise definition of the checksum.
inline std::uint32_t png_crc(const std::string& bytes) {
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xEDB88320U : 0U);
  }
  return ~crc;
}

inline std::string png_chunk(const std::string& type, const std::string& data) {
  return big(static_cast<std::uint32_t>(data.size()), 4) + type + data + big(png_crc(type + data), 4);
}

/// RFC 1950 and 1951: one block, stored as it is.
inline std::string zlib_stored(const std::string& data) {
  std::uint32_t a = 1, b = 0;
  for (const char byte : data) {
    a = (a + static_cast<unsigned char>(byte)) % 65521;
    b = (b + a) % 65521;
  }
  const auto length = static_cast<std::uint32_t>(data.size());
  return "\x78\x01\x01" + little(length, 2) + little(~length, 2) + data + big(b << 16 | a, 4);
}

/// The samples of a pixel, one after another.
using Samples = std::function<std::vector<std::uint32_t>(int column, int row)>;

/// Rows of samples of `depth` bits, each behind a filter byte 0; only every so many-th pixel.
inline std::string png_rows(int columns, int rows, int depth, const Samples& samples, int first_column = 0,
                            int first_row = 0, int column_step = 1, int row_step = 1) {
  std::string data;
  for (int row = first_row; row < rows && first_column < columns; row += row_step) {
    data += '\0';
    std::uint32_t bits = 0;
    int filled = 0;
    for (int column = first_column; column < columns; column += column_step) {
      for (const std::uint32_t sample : samples(column, row)) {
        if (depth >= 8) {
          data += big(sample, depth / 8);
          continue;
        }
        bits = bits << depth | sample;
        filled += depth;
        if (filled == 8) data += static_cast<char>(bits);
        if (filled == 8) bits = filled = 0;
      }
    }
    if (filled > 0) data += static_cast<char>(bits << (8 - filled));
  }
  return data;
}

struct PngOptions {
  int depth = 8, colour_type = 2;  // 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA
  bool interlaced = false;
  std::string chunks = {};  // between the header and the data
};

inline std::string png(int columns, int rows, const Samples& samples, const PngOptions& options = {}) {
  std::string data;
  if (options.interlaced) {  // PNG, 8.2
    const int passes[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                              {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    for (const auto& pass : passes) {
      data += png_rows(columns, rows, options.depth, samples, pass[0], pass[1], pass[2], pass[3]);
    }
  } else {
    data = png_rows(columns, rows, options.depth, samples);
  }
  const std::string header = big(static_cast<std::uint32_t>(columns), 4) + big(static_cast<std::uint32_t>(rows), 4) +
                             big(static_cast<std::uint32_t>(options.depth), 1) +
                             big(static_cast<std::uint32_t>(options.colour_type), 1) + std::string(2, '\0') +
                             (options.interlaced ? "\1" : std::string(1, '\0'));
  return "\x89PNG\r\n\x1A\n" + png_chunk("IHDR", header) + options.chunks + png_chunk("IDAT", zlib_stored(data)) +
         png_chunk("IEND", "");
}

/// RGB samples of `pixels`, scaled by `factor` (257 for 16 bits).
inline Samples samples_of(const std::vector<std::uint8_t>& pixels, int columns, std::uint32_t factor = 1) {
  return [=](int column, int row) {
    const std::uint8_t* const at = &pixels[static_cast<std::size_t>(row * columns + column) * 3];
    return std::vector<std::uint32_t>{at[0] * factor, at[1] * factor, at[2] * factor};
  };
}

/// An Exif block that notes an orientation behind another entry.
inline std::string exif(int orientation, bool big_endian) {
  const auto n = [&](std::uint32_t value, int bytes) { return number(value, bytes, big_endian); };
  const auto value = static_cast<std::uint32_t>(orientation);
  return (big_endian ? "MM" : "II") + n(42, 2) + n(8, 4) + n(2, 2) + n(0x0100, 2) + n(4, 2) + n(1, 4) + n(640, 4) +
         n(0x0112, 2) + n(3, 2) + n(1, 4) + n(value, 2) + n(0, 2) + n(0, 4);
}

/// The JPEG with a segment right behind its start.
inline std::string with_segment(const std::string& jpeg, char marker, const std::string& data) {
  return jpeg.substr(0, 2) + '\xFF' + marker + big(static_cast<std::uint32_t>(data.size()) + 2, 2) + data +
         jpeg.substr(2);
}

struct BmpOptions {
  int bits = 24, header = 40, compression = 0;
  bool from_top = false;
  std::string palette = {};  // or masks
};

/// `row_of` gives a row's bytes, without the padding.
inline std::string bmp(int columns, int rows, const std::function<std::string(int row)>& row_of,
                       const BmpOptions& options = {}) {
  const auto n = [](int value, int bytes) { return little(static_cast<std::uint32_t>(value), bytes); };
  std::string data;
  for (int i = 0; i < rows; ++i) {
    std::string row = row_of(options.from_top ? i : rows - 1 - i);
    row.resize((row.size() + 3) / 4 * 4);
    data += row;
  }
  std::string header = n(options.header, 4);
  if (options.header == 12) {
    header += n(columns, 2) + n(rows, 2) + n(1, 2) + n(options.bits, 2);
  } else {
    header += n(columns, 4) + n(options.from_top ? -rows : rows, 4) + n(1, 2) + n(options.bits, 2) +
              n(options.compression, 4) + std::string(20, '\0');
  }
  // Masks are part of the larger headers.
  const std::string rest = options.header > 40 ? options.palette : "";
  header += rest;
  header.resize(std::max<std::size_t>(static_cast<std::size_t>(options.header), header.size()));
  if (rest.empty()) header += options.palette;
  const int offset = 14 + static_cast<int>(header.size());
  return "BM" + n(offset + static_cast<int>(data.size()), 4) + n(0, 4) + n(offset, 4) + header + data;
}

/// Blue, green, red.
inline std::string bgr_row(const std::vector<std::uint8_t>& pixels, int columns, int row, bool with_fourth = false) {
  std::string text;
  for (int column = 0; column < columns; ++column) {
    for (const int c : {2, 1, 0}) {
      text += static_cast<char>(pixels[static_cast<std::size_t>((row * columns + column) * 3 + c)]);
    }
    if (with_fourth) text += '\x55';
  }
  return text;
}

/// A binary PPM.
inline std::string ppm(int columns, int rows, const std::vector<std::uint8_t>& pixels) {
  return concat("P6\n", columns, ' ', rows, "\n255\n") + std::string(pixels.begin(), pixels.end());
}

}  // namespace stagewise::picture_files
