// Pictures: every format that is announced is decoded right or refused by name; what isn't is named.
#include "datasets/picture.h"

#include <gtest/gtest.h>

#include <cmath>

#include "datasets/image_files.h"
#include "tests/picture_files.h"
#include "tests/temporary_folder.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace stagewise {
namespace {

using namespace picture_files;
using namespace std::literals;
using Bytes = std::vector<std::uint8_t>;

constexpr int kColumns = 9, kRows = 6;

std::string why_not(const std::string& file) {
  return message_of([&] { decode_picture(file); });
}

void expect_picture(const std::string& file, int columns, int rows, const Bytes& pixels, const std::string& what) {
  Picture picture;
  EXPECT_EQ(message_of([&] { picture = decode_picture(file); }), "no error") << what;
  EXPECT_EQ(picture.width, columns) << what;
  EXPECT_EQ(picture.height, rows) << what;
  EXPECT_EQ(picture.pixels, pixels) << what;
}

/// Cut anywhere, the file is refused as truncated.
void expect_cuts_refused(const std::string& file, const std::string& what) {
  for (std::size_t size = 12; size < file.size(); ++size) {
    const std::string reason = why_not(file.substr(0, size));
    EXPECT_TRUE(contains(reason, "a truncated " + what)) << size << " of " << file.size() << " bytes";
  }
}

Bytes grey(const std::vector<int>& values) {
  Bytes pixels;
  for (const int value : values) pixels.insert(pixels.end(), 3, static_cast<std::uint8_t>(value));
  return pixels;
}

TEST(Pnm, IsScaledFromItsOwnMaximum) {
  expect_picture("P5 3 1 15\n\x0F\x08\x00"s, 3, 1, grey({255, 136, 0}), "grey, maximum 15");
  expect_picture("P6 1 1 15\n\x0F\x01\x02"s, 1, 1, {255, 17, 34}, "colour, maximum 15");
  expect_picture("P5 2 1 65535\n\xFF\xFF\x80\x00"s, 2, 1, grey({255, 128}), "grey of 16 bits");
  expect_picture("P6 1 1 1000\n\x03\xE8\x01\xF4\x00\x01"s, 1, 1, {255, 128, 0}, "colour of 16 bits");
  expect_picture("P2\n# a comment\n3 1 # another\n4\n4 2\n 0", 3, 1, grey({255, 128, 0}), "grey in words");
  expect_picture("P3 1 1 65535 65535 32768 0\n", 1, 1, {255, 128, 0}, "colour in words");
  expect_picture("P5#c\r1#\n1 1\n\x01", 1, 1, grey({255}), "comments right behind words");
  const Bytes pixels = colours(kColumns, kRows);
  expect_picture(ppm(kColumns, kRows, pixels), kColumns, kRows, pixels, "colour");
}

TEST(Pnm, IsRefusedWhereItsDefinitionIsBroken) {
  for (const char* const kind : {"P5", "P6"}) {
    for (const int maximum : {1, 255, 256, 65535}) {
      const std::string file = concat(kind, " 300 300 ", maximum, '\n'), what = kind == "P5"s ? "PGM" : "PPM";
      EXPECT_TRUE(contains(why_not(file), "a truncated " + what + ": its 300x300 pixels need")) << file;
      EXPECT_TRUE(contains(why_not(file + std::string(89'999, '\1')), "a truncated " + what)) << file;
    }
  }
  EXPECT_TRUE(contains(why_not("P2 2 2 9 1 2 3"), "a truncated PGM"));
  EXPECT_TRUE(contains(why_not("P3 300000 30000 9 1 2 3"), "pixels, more than"));
  EXPECT_TRUE(contains(why_not("P6 99999999999999999999 1 9 "), "width is above"));
  EXPECT_TRUE(contains(why_not("P6 0 5 255 "), "a PPM of 0x5 pixels"));
  EXPECT_TRUE(contains(why_not("P6 1 1 0 abc"), "its maximum is 0"));
  EXPECT_TRUE(contains(why_not("P6 1 1 65536 abc"), "maximum is above 65535"));
  EXPECT_TRUE(contains(why_not("P5 1 1 15 \x10"), "a sample is 16, above its maximum 15"));
  EXPECT_TRUE(contains(why_not("P2 1 1 15 16"), "sample is above 15"));
  EXPECT_TRUE(contains(why_not("P2 2 1 15 -1 2"), "its sample is no number"));
  EXPECT_TRUE(contains(why_not("P6 x 1 255 abc"), "its width is no number"));
  for (const char* const file : {"P6", "P6 ", "P6 #", "P6 1 1", "P6 1 1 1", "P6 # no end"}) {
    EXPECT_TRUE(contains(why_not(file), "a truncated PPM")) << file;
  }
}

TEST(Bmp, OfEveryDepthIsDecoded) {
  const Bytes pixels = colours(kColumns, kRows);
  const auto rows = [&](int row) { return bgr_row(pixels, kColumns, row); };
  const auto rows_of_four = [&](int row) { return bgr_row(pixels, kColumns, row, true); };
  for (const bool from_top : {false, true}) {
    expect_picture(bmp(kColumns, kRows, rows, {.from_top = from_top}), kColumns, kRows, pixels, "24 bits");
    expect_picture(bmp(kColumns, kRows, rows_of_four, {.bits = 32, .from_top = from_top}), kColumns, kRows, pixels,
                   "32 bits");
  }
  const std::string masks = little(0xFF0000, 4) + little(0xFF00, 4) + little(0xFF, 4) + little(0xFF000000, 4);
  for (const int header : {52, 56, 108, 124}) {
    expect_picture(
        bmp(kColumns, kRows, rows_of_four, {.bits = 32, .header = header, .compression = 3, .palette = masks}),
        kColumns, kRows, pixels, concat("a header of ", header));
  }
  expect_picture(bmp(kColumns, kRows, rows, {.header = 12}), kColumns, kRows, pixels, "OS/2's");

  const auto one_row = [](const std::string& row) { return [row](int) { return row; }; };
  expect_picture(bmp(2, 1, one_row("\xFF\x7F\x00\x7C"s), {.bits = 16}), 2, 1, {255, 255, 255, 255, 0, 0}, "5, 5, 5");
  const std::string masks565 = little(0xF800, 4) + little(0x7E0, 4) + little(0x1F, 4);
  expect_picture(bmp(2, 1, one_row("\xE0\x07\x10\x00"s), {.bits = 16, .compression = 3, .palette = masks565}), 2, 1,
                 {0, 255, 0, 0, 0, 132}, "5, 6, 5");
  const std::string palette = "\3\2\1.\6\5\4."s, three = "\3\2\1\6\5\4"s;
  const Bytes decoded = {1, 2, 3, 4, 5, 6, 4, 5, 6};
  expect_picture(bmp(3, 1, one_row("\x60"s), {.bits = 1, .palette = palette}), 3, 1, decoded, "1 bit");
  expect_picture(bmp(3, 1, one_row("\x60"s), {.bits = 1, .header = 12, .palette = three}), 3, 1, decoded,
                 "OS/2, 1 bit");
  const auto padded = [](const std::string& colours, std::size_t size) { return colours + std::string(size, '\0'); };
  expect_picture(bmp(3, 1, one_row("\x01\x10"s), {.bits = 4, .palette = padded(palette, 56)}), 3, 1, decoded, "4 bits");
  expect_picture(bmp(3, 1, one_row("\0\1\1"s), {.bits = 8, .palette = padded(palette, 1016)}), 3, 1, decoded, "8 bits");
}

TEST(Bmp, ThatDoesNotHoldWhatItAnnouncesIsRefused) {
  const Bytes pixels = colours(kColumns, kRows);
  const std::string file = bmp(kColumns, kRows, [&](int row) { return bgr_row(pixels, kColumns, row); });
  expect_cuts_refused(file, "BMP");
  const auto with = [&](std::size_t at, std::uint32_t value, int bytes) {
    std::string changed = file;
    return changed.replace(at, static_cast<std::size_t>(bytes), little(value, bytes));
  };
  EXPECT_TRUE(contains(why_not(with(18, 100, 4)), "a truncated BMP: its 100x6 pixels of 24 bits need 1800 bytes"));
  EXPECT_TRUE(contains(why_not(with(18, 0, 4)), "a BMP of 0x6 pixels"));
  EXPECT_TRUE(contains(why_not(with(18, 0x7FFFFFFF, 4)), "pixels, more than"));
  EXPECT_TRUE(contains(why_not(with(18, 0x80000000, 4)), "a BMP of -2147483648x6 pixels"));
  EXPECT_TRUE(contains(why_not(with(22, 0x80000000, 4)), "pixels, more than"));
  EXPECT_TRUE(contains(why_not(with(10, 0xFFFFFFF0, 4)), "a truncated BMP"));
  EXPECT_TRUE(contains(why_not(with(14, 16, 4)), "a header of 16 bytes"));
  EXPECT_TRUE(contains(why_not(with(28, 2, 2)), "a BMP of 2 bits a pixel"));
  EXPECT_TRUE(contains(why_not(with(30, 1, 4)), "a compressed BMP"));
  EXPECT_TRUE(contains(why_not(with(30, 3, 4)), "masks for 24 bits"));
  std::string few = bmp(2, 1, [](int) { return "\x01\x20"s; }, {.bits = 4, .palette = std::string(64, '\0')});
  few.replace(46, 4, little(2, 4));  // colours in use
  EXPECT_EQ(why_not(few), "no error");
  few[few.size() - 4] = '\x02';
  EXPECT_TRUE(contains(why_not(few), "a pixel of colour 2 in a palette of 2"));
}

TEST(Png, OfEveryKindIsDecoded) {
  const Bytes pixels = colours(kColumns, kRows);
  for (const bool interlaced : {false, true}) {
    const auto expect = [&](const Samples& samples, int depth, int type, const Bytes& expected,
                            const std::string& chunks = {}) {
      expect_picture(png(kColumns, kRows, samples,
                         {.depth = depth, .colour_type = type, .interlaced = interlaced, .chunks = chunks}),
                     kColumns, kRows, expected, concat("type ", type, ", ", depth, " bits, interlaced ", interlaced));
    };
    expect(samples_of(pixels, kColumns), 8, 2, pixels);
    expect(samples_of(pixels, kColumns, 257), 16, 2, pixels);
    for (const int depth : {8, 16}) {  // transparent or not: the colour as it is stored
      const std::uint32_t factor = depth == 16 ? 257 : 1;
      const Samples rgb = samples_of(pixels, kColumns, factor);
      expect(
          [&](int column, int row) {
            std::vector<std::uint32_t> with_alpha = rgb(column, row);
            with_alpha.push_back(static_cast<std::uint32_t>(column * row) * factor);
            return with_alpha;
          },
          depth, 6, pixels);
    }
    Bytes palette_pixels;
    for (const int depth : {1, 2, 4, 8, 16}) {
      const std::uint32_t largest = (1U << depth) - 1;
      const auto sample = [=](int column, int row) {
        return static_cast<std::uint32_t>(column * 7 + row * 5) % (largest + 1);
      };
      std::vector<int> values, indices;
      for (int i = 0; i < kColumns * kRows; ++i) {
        const std::uint32_t value = sample(i % kColumns, i / kColumns);
        values.push_back(static_cast<int>(depth == 16 ? value >> 8 : value * 255 / largest));
        indices.push_back(static_cast<int>(value));
      }
      const Samples one = [=](int column, int row) { return std::vector<std::uint32_t>{sample(column, row)}; };
      expect(one, depth, 0, grey(values));
      if (depth >= 8) {
        expect(
            [=](int column, int row) {
              return std::vector<std::uint32_t>{sample(column, row), 3};
            },
            depth, 4, grey(values));
      }
      if (depth == 16) continue;
      std::string palette;
      for (std::uint32_t i = 0; i <= largest; ++i) palette += big(i << 16 | (i * 3 & 255) << 8 | 77, 3);
      Bytes expected;
      for (const int index : indices) {
        for (const int c : {index, index * 3 & 255, 77}) expected.push_back(static_cast<std::uint8_t>(c));
      }
      expect(one, depth, 3, expected, png_chunk("PLTE", palette));
      expect(one, depth, 3, expected, png_chunk("PLTE", palette) + png_chunk("tRNS", "\0\x80"s));
    }
  }
}

TEST(Png, APixelBeyondThePaletteIsBlackEveryTime) {
  const std::string file =
      png(2, 1, [](int column, int) { return std::vector<std::uint32_t>{column == 0 ? 0U : 200U}; },
          {.colour_type = 3, .chunks = png_chunk("PLTE", "\1\2\3")});
  expect_picture(file, 2, 1, {1, 2, 3, 0, 0, 0}, "palette of one");
}

TEST(Png, ThatIsDamagedIsRefused) {
  const Bytes pixels = colours(kColumns, kRows);
  const std::string file = png(kColumns, kRows, samples_of(pixels, kColumns));
  expect_cuts_refused(file, "PNG");
  for (std::size_t at = 8; at < file.size(); ++at) {  // no byte but is looked at
    std::string flipped = file;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    EXPECT_NE(why_not(flipped), "no error") << at;
  }
  const auto announcing = [&](std::uint32_t columns, std::uint32_t rows) {
    return "\x89PNG\r\n\x1A\n" + png_chunk("IHDR", big(columns, 4) + big(rows, 4) + "\x08\x02\0\0\0"s) +
           png_chunk("IDAT", zlib_stored("\0\1\2\3"s)) + png_chunk("IEND", "");
  };
  EXPECT_EQ(why_not(announcing(1, 1)), "no error");
  EXPECT_TRUE(contains(why_not(announcing(0, 1)), "a PNG of 0x1 pixels"));
  EXPECT_TRUE(contains(why_not(announcing(100'000, 100'000)), "pixels, more than"));
  EXPECT_TRUE(contains(why_not(announcing(0xFFFFFFFF, 0xFFFFFFFF)), "pixels, more than"));
  EXPECT_TRUE(contains(why_not(announcing(2, 1)), "a PNG that can't be decoded: "));
  const Samples rgb = samples_of(pixels, kColumns);
  EXPECT_TRUE(contains(why_not(png(kColumns, kRows, rgb, {.chunks = png_chunk("CgBI", "....")})), "Apple's"));
  EXPECT_TRUE(contains(why_not(png(kColumns, kRows, rgb, {.chunks = png_chunk("ABCD", "....")})), "can't be decoded"));
  EXPECT_EQ(why_not(png(kColumns, kRows, rgb, {.chunks = png_chunk("abCD", "....")})), "no error");
}

std::string read_data(const std::string& name) {
  std::ifstream file(STAGEWISE_SOURCE_DIR "/tests/data/pictures/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Jpeg, LooksAsLibjpegSeesIt) {
  for (const std::string name : {"progressive", "subsampled", "grey", "cmyk"}) {
    const std::string file = read_data(name + ".jpg");
    const Picture got = decode_picture(file), expected = decode_picture(read_data(name + ".ppm"));
    ASSERT_EQ(got.width, expected.width) << name;
    ASSERT_EQ(got.height, expected.height) << name;
    double sum = 0.0;
    for (std::size_t i = 0; i < got.pixels.size(); ++i) sum += std::abs(got.pixels[i] - expected.pixels[i]);
    EXPECT_LT(sum / static_cast<double>(got.pixels.size()), 1.0) << name;  // of 255 levels
    expect_cuts_refused(file, "JPEG");
  }
}

std::string jpeg_of(int columns, int rows, const Bytes& pixels) {
  std::string file;
  stbi_write_jpg_to_func(
      [](void* text, void* bytes, int size) {
        static_cast<std::string*>(text)->append(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
      },
      &file, columns, rows, 3, pixels.data(), 100);
  return file;
}

TEST(Jpeg, OfAKindThatIsNotReadIsRefused) {
  const std::string file = jpeg_of(kColumns, kRows, colours(kColumns, kRows));
  const std::size_t frame = file.find("\xFF\xC0"), components = frame + 9;
  const auto with = [&](std::size_t at, const std::string& bytes) {
    std::string changed = file;
    return changed.replace(at, bytes.size(), bytes);
  };
  EXPECT_TRUE(contains(why_not(with(frame, "\xFF\xC3")), "lossless"));
  EXPECT_TRUE(contains(why_not(with(frame, "\xFF\xC9")), "arithmetic coding"));
  EXPECT_TRUE(contains(why_not(with(frame, "\xFF\xC5")), "hierarchical"));
  EXPECT_TRUE(contains(why_not(with(frame + 4, "\x0C")), "12 bits"));
  EXPECT_TRUE(contains(why_not(with(frame + 5, "\0\0"s)), "a JPEG of 9x0 pixels"));
  EXPECT_TRUE(contains(why_not(with(frame + 5, "\xFF\xFF\xFF\xFF")), "pixels, more than"));
  EXPECT_TRUE(contains(why_not(with(frame + 5, "\x10\x10\x10\x10")), "bytes can't hold 4112x4112 pixels"));
  EXPECT_TRUE(contains(why_not(with(components, "\2")), "a JPEG of 2 components"));
  EXPECT_TRUE(contains(why_not(with(frame, "\xFF\xEF")), "it has no frame"));
  EXPECT_TRUE(contains(why_not(file.substr(0, file.find("\xFF\xDA")) + "\xFF\xD9"), "a component"));
  const std::string table = std::string("\0", 1) + std::string(16, '\xFF') + std::string(16 * 255, '\1');
  EXPECT_TRUE(contains(why_not(with_segment(file, '\xC4', table)), "a Huffman table of 4080 codes"));
  EXPECT_TRUE(contains(why_not(with_segment(file, '\xC4', table.substr(0, 9))), "a truncated JPEG"));
  std::string cmyk = read_data("cmyk.jpg");
  const std::size_t adobe = cmyk.find("Adobe");
  ASSERT_NE(adobe, std::string::npos);
  EXPECT_TRUE(contains(why_not(cmyk.replace(adobe, 5, "Other")), "four colours"));
}

/// Exif 2.32, 4.6.4: on which side of the picture, as it is meant to be seen, the stored rows and columns begin.
struct Sides {
  const char *row, *column;
};
constexpr Sides kSides[] = {{"top", "left"}, {"top", "right"}, {"bottom", "right"}, {"bottom", "left"},
                            {"left", "top"}, {"right", "top"}, {"right", "bottom"}, {"left", "bottom"}};

/// The picture `seen` as a camera with the orientation stores it.
Bytes stored(const Bytes& seen, int columns, int rows, int orientation) {
  const Sides sides = kSides[orientation - 1];
  const bool upright = sides.row == "top"s || sides.row == "bottom"s;
  const int stored_rows = upright ? rows : columns, stored_columns = upright ? columns : rows;
  Bytes pixels;
  for (int i = 0; i < stored_rows; ++i) {
    for (int j = 0; j < stored_columns; ++j) {
      int row = 0, column = 0;
      for (const auto& [side, steps] : {std::pair<std::string, int>(sides.row, i), {sides.column, j}}) {
        if (side == "top") row = steps;
        if (side == "bottom") row = rows - 1 - steps;
        if (side == "left") column = steps;
        if (side == "right") column = columns - 1 - steps;
      }
      const auto at = seen.begin() + (row * columns + column) * 3;
      pixels.insert(pixels.end(), at, at + 3);
    }
  }
  return pixels;
}

TEST(Exif, EveryOrientationIsTurnedUpright) {
  const Bytes seen = colours(kColumns, kRows);
  Bytes quadrants;  // what JPEG keeps well: 8x8 pixels of a colour each, 3 beside each other, in 2 rows
  for (int i = 0; i < 24 * 16; ++i) {
    const int block = i % 24 / 8 + 3 * (i / (24 * 8));
    for (const int value : {block * 50, 255 - block * 40, block % 2 * 200})
      quadrants.push_back(static_cast<std::uint8_t>(value));
  }
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const bool swapped = orientation > 4;
    const int columns = swapped ? kRows : kColumns, rows = swapped ? kColumns : kRows;
    for (const bool big_endian : {false, true}) {
      const std::string note = exif(orientation, big_endian), what = concat("orientation ", orientation);
      expect_picture(png(columns, rows, samples_of(stored(seen, kColumns, kRows, orientation), columns),
                         {.chunks = png_chunk("eXIf", note)}),
                     kColumns, kRows, seen, what);
      const std::string plain = jpeg_of(swapped ? 16 : 24, swapped ? 24 : 16, stored(quadrants, 24, 16, orientation));
      const Picture got = decode_picture(with_segment(plain, '\xE1', "Exif\0\0"s + note));
      ASSERT_EQ(got.width, 24) << what;
      ASSERT_EQ(got.height, 16) << what;
      for (std::size_t i = 0; i < quadrants.size(); ++i)
        ASSERT_NEAR(got.pixels[i], quadrants[i], 6) << what << ' ' << i;
    }
  }
}

TEST(Exif, ABrokenNoteLeavesThePictureAsItIs) {
  const Bytes pixels = colours(kColumns, kRows);
  const auto expect = [&](const std::string& note, const std::string& what) {
    expect_picture(png(kColumns, kRows, samples_of(pixels, kColumns), {.chunks = png_chunk("eXIf", note)}), kColumns,
                   kRows, pixels, what);
  };
  const std::string whole = exif(6, true);
  for (const int orientation : {0, 9, 65535}) expect(exif(orientation, false), concat("orientation ", orientation));
  for (std::size_t size = 0; size < whole.size() - 8; ++size) expect(whole.substr(0, size), concat("cut to ", size));
  std::string far = whole, text = whole;
  expect(far.replace(4, 4, "\xFF\xFF\xFF\xFF"), "a directory far away");
  expect(text.replace(24, 2, "\0\2"s), "not a number");
  std::string damaged = png(kColumns, kRows, samples_of(pixels, kColumns), {.chunks = png_chunk("eXIf", whole)});
  damaged[damaged.find("eXIf") + 4 + whole.size()] ^= 1;  // its checksum
  expect_picture(damaged, kColumns, kRows, pixels, "a wrong checksum");
}

TEST(DecodePicture, SaysWhatAFileIsThatIsNotRead) {
  const std::pair<std::string, const char*> files[] = {
      {"", "an empty file"},
      {"GIF89a\1\0\1\0", "a GIF"},
      {"RIFF\x24\0\0\0WEBPVP8 "s, "a WebP"},
      {"\0\0\0\x18"
       "ftypheic\0\0\0\0"s,
       "a HEIC"},
      {"\0\0\0\x18"
       "ftypavif\0\0\0\0"s,
       "an AVIF"},
      {"\0\0\0\x18"
       "ftypisom\0\0\0\0"s,
       "a video"},
      {"II*\0\x08\0\0\0"s, "a TIFF"},
      {"MM\0*\0\0\0\x08"s, "a TIFF"},
      {"<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "an SVG"},
      {"<!DOCTYPE html><title>404</title>", "a web page"},
      {"not a picture at all\n", "a text file"},
      {"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"},
      {"P4 8 1\n\xFF", "a PBM"},
      {"%PDF-1.4", "a PDF"},
      {"\0\1\2\3\4\5\6\7\x08"s, "no picture: it begins with \\x00\\x01\\x02\\x03\\x04\\x05\\x06\\x07"},
  };
  for (const auto& [file, what] : files) {
    EXPECT_EQ(why_not(file).find(what), 0U) << why_not(file);
    EXPECT_TRUE(contains(why_not(file), "; JPEG, PNG, BMP, PPM and PGM are read"));
  }
  // By its first bytes, whatever its name is.
  const TemporaryFolder folder;
  const std::string error = message_of([&] { read_image(folder.write("z\xE9.png", "GIF89a"), 4, 4); });
  EXPECT_EQ(error, "can't decode " + folder.path("z\\xE9.png") + ": a GIF; JPEG, PNG, BMP, PPM and PGM are read");
  EXPECT_TRUE(contains(message_of([&] { read_image(folder.path(), 4, 4); }), "can't read " + folder.path()));
}

}  // namespace
}  // namespace stagewise
