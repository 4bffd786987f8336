// Sound files of every kind, for fuzzing to start from.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/picture_files.h"

namespace stagewise::fuzz {

/// With the JPEG files of `folder`, as they are and with an orientation.
inline std::vector<std::string> picture_corpus(const std::string& folder) {
  using namespace picture_files;
  constexpr int kColumns = 7, kRows = 5;
  const std::vector<std::uint8_t> pixels = colours(kColumns, kRows);
  const Samples rgb = samples_of(pixels, kColumns), wide = samples_of(pixels, kColumns, 257);
  const auto one = [](int column, int row) {
    return std::vector<std::uint32_t>{static_cast<std::uint32_t>(column + row) % 2};
  };
  const auto two = [](int column, int row) {
    return std::vector<std::uint32_t>{static_cast<std::uint32_t>(column), static_cast<std::uint32_t>(row)};
  };
  const std::string palette = png_chunk("PLTE", std::string("\1\2\3\4\5\6", 6));
  const auto bgr = [&](int row) { return bgr_row(pixels, kColumns, row); };
  const auto bgra = [&](int row) { return bgr_row(pixels, kColumns, row, true); };
  const std::string masks = little(0xFF0000, 4) + little(0xFF00, 4) + little(0xFF, 4);
  std::vector<std::string> corpus = {
      ppm(kColumns, kRows, pixels),
      "P5 # grey\n3 2\n15\n" + std::string("\1\2\3\4\5\6", 6),
      "P6 1 2 65535\n" + std::string("\1\2\3\4\5\6\1\2\3\4\5\6", 12),
      "P3\n2 1 # words\n7\n1 2 3  4 5 6\n",
      "P2 3 2 255 1 2 3 4 5 6",
      bmp(kColumns, kRows, bgr),
      bmp(kColumns, kRows, bgr, {.header = 12}),
      bmp(kColumns, kRows, bgra, {.bits = 32, .from_top = true}),
      bmp(kColumns, kRows, bgra, {.bits = 32, .header = 124, .compression = 3, .palette = masks}),
      bmp(3, 2, [](int) { return std::string("\x20", 1); }, {.bits = 1, .palette = std::string(8, '\7')}),
      bmp(3, 2, [](int) { return std::string("\1\2\3", 3); }, {.bits = 8, .palette = std::string(1024, '\7')}),
      png(kColumns, kRows, rgb),
      png(kColumns, kRows, rgb, {.interlaced = true, .chunks = png_chunk("eXIf", exif(6, true))}),
      png(kColumns, kRows, wide, {.depth = 16, .chunks = png_chunk("eXIf", exif(3, false))}),
      png(kColumns, kRows, one, {.depth = 1, .colour_type = 3, .chunks = palette + png_chunk("tRNS", "\x80")}),
      png(kColumns, kRows, two, {.depth = 8, .colour_type = 4}),
      png(kColumns, kRows, one, {.depth = 1, .colour_type = 0, .interlaced = true}),
  };
  std::vector<std::filesystem::path> jpegs;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".jpg") jpegs.push_back(entry.path());
  }
  std::sort(jpegs.begin(), jpegs.end());
  for (const auto& path : jpegs) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    corpus.push_back(with_segment(corpus.back(), '\xE1', std::string("Exif\0\0", 6) + exif(8, false)));
  }
  return corpus;
}

}  // namespace stagewise::fuzz
