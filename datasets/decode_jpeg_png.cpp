// JPEG and PNG: stb_image decodes them. It is lenient (what is missing stays as it was in memory, checksums aren't
// looked at), so we walk through a file's parts first, and refuse what is cut short, damaged or not decoded rightly.
#include <array>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>

#include "datasets/picture_formats.h"
#include "tensor/text.h"

namespace {

// For kMaxPixels of 16-bit RGBA; a PNG whose data unpack to more is refused. Zeroed, so that nothing is ever read that
// wasn't written.
constexpr std::size_t kMaxBytes = std::size_t{1} << 30;
void* bounded_alloc(std::size_t bytes) { return bytes > kMaxBytes ? nullptr : std::calloc(bytes, 1); }
void* bounded_realloc(void* memory, std::size_t bytes) {
  return bytes > kMaxBytes ? nullptr : std::realloc(memory, bytes);
}

}  // namespace

#define STBI_MALLOC(bytes) bounded_alloc(bytes)
#define STBI_REALLOC(memory, bytes) bounded_realloc(memory, bytes)
#define STBI_FREE(memory) std::free(memory)
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_FAILURE_USERMSG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace stagewise {
namespace {

Picture decode_by_stb(std::string_view file, const char* format, int orientation) {
  require(file.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()), "a ", format, " of ", file.size(),
          " bytes, which is too large");
  const auto* const bytes = reinterpret_cast<const stbi_uc*>(file.data());
  int columns = 0, rows = 0, channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes, static_cast<int>(file.size()), &columns, &rows, &channels, 3), stbi_image_free);
  if (pixels == nullptr) fail("a ", format, " that can't be decoded: ", stbi_failure_reason());  // only now it is known
  return upright(pixels.get(), rows, columns, orientation);
}

struct JpegParts {
  int orientation = 1;
  std::string components, scanned;  // their identifiers, in the frame and in the scans
  bool from_adobe = false;
};

/// A frame's header (T.81, B.2.2) at `at`, behind its length.
void read_frame(std::string_view file, std::size_t at, unsigned marker, JpegParts& parts) {
  const auto number = [&](std::size_t place, std::size_t bytes) {
    return number_at(file, at + place, bytes, ByteOrder::big, "JPEG");
  };
  require(marker <= 0xC2, "a JPEG of a kind that isn't read (", marker >= 0xC9 ? "arithmetic coding" : "",
          marker == 0xC3 ? "lossless" : "", marker > 0xC3 && marker < 0xC9 ? "hierarchical" : "", ")");
  require(parts.components.empty(), "a corrupt JPEG: it has two frames");
  require(number(0, 1) == 8, "a JPEG of ", number(0, 1), " bits, which isn't read");
  const std::int64_t rows = number(1, 2), columns = number(3, 2);
  check_size("JPEG", columns, rows);
  // Every 8x8 pixels take at least a bit, of which a byte has eight; twice that, to be sure.
  require(columns * rows / 1024 <= static_cast<std::int64_t>(file.size()), "a truncated JPEG: ", file.size(),
          " bytes can't hold ", columns, "x", rows, " pixels");
  const std::uint32_t components = number(5, 1);
  require(components == 1 || components == 3 || components == 4, "a JPEG of ", components, " components");
  for (std::uint32_t c = 0; c < components; ++c) parts.components += static_cast<char>(number(6 + 3 * c, 1));
}

/// Huffman tables (T.81, B.2.4.2): stb_image 2.27 writes beyond its own where one has more than 256 codes.
void check_huffman_tables(std::string_view segment) {
  for (std::size_t at = 0; at < segment.size();) {
    std::size_t codes = 0;
    for (std::size_t length = 1; length <= 16; ++length)
      codes += number_at(segment, at + length, 1, ByteOrder::big, "JPEG");
    require(codes <= 256, "a corrupt JPEG: a Huffman table of ", codes, " codes");
    at += 17 + codes;
  }
}

JpegParts parts_of_jpeg(std::string_view file) {
  JpegParts parts;
  std::size_t at = 2;
  const auto number = [&](std::size_t place, std::size_t bytes) {
    return number_at(file, place, bytes, ByteOrder::big, "JPEG");
  };
  while (true) {
    // To the next marker: an FF that is neither a byte of data (FF 00), nor padding, nor a restart.
    unsigned marker = 0;
    while (marker == 0 || marker == 0x01 || marker == 0xFF || (marker >= 0xD0 && marker <= 0xD8)) {
      at = file.find('\xFF', at);
      require(at < file.size() && at + 1 < file.size(), "a truncated JPEG: its end marker is missing");
      marker = number(++at, 1);
    }
    ++at;
    if (marker == 0xD9) break;  // the end
    const std::size_t length = number(at, 2);
    require(length >= 2 && length <= file.size() - at, "a truncated JPEG: it ends within a segment");
    const std::string_view segment = file.substr(at + 2, length - 2);
    using namespace std::literals;
    if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
      read_frame(file, at + 2, marker, parts);
    } else if (marker == 0xC4) {
      check_huffman_tables(segment);
    } else if (marker == 0xDA) {  // a scan
      for (std::uint32_t c = 0; c < number(at + 2, 1); ++c) {
        parts.scanned += static_cast<char>(number(at + 3 + 2 * c, 1));
      }
    } else if (marker == 0xE1 && segment.substr(0, 6) == "Exif\0\0"sv) {
      parts.orientation = exif_orientation(segment.substr(6));
    } else if (marker == 0xEE && segment.substr(0, 5) == "Adobe"sv) {
      parts.from_adobe = true;
    }
    at += length;
  }
  require(!parts.components.empty(), "a corrupt JPEG: it has no frame");
  for (const char component : parts.components) {
    require(parts.scanned.find(component) != std::string::npos,
            "a truncated JPEG: a component of its colours is missing");
  }
  require(parts.components.size() < 4 || parts.from_adobe, "a JPEG of four colours that doesn't say which");
  return parts;
}

/// The checksum of PNG's chunks (W3C's PNG, annex D).
std::uint32_t crc32(std::string_view bytes) {
  static const std::array<std::uint32_t, 256> kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t n = 0; n < 256; ++n) {
      table[n] = n;
      for (int bit = 0; bit < 8; ++bit) table[n] = (table[n] & 1) != 0 ? 0xEDB88320 ^ table[n] >> 1 : table[n] >> 1;
    }
    return table;
  }();
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes) crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF] ^ crc >> 8;
  return ~crc;
}

}  // namespace

Picture decode_jpeg(std::string_view file) { return decode_by_stb(file, "JPEG", parts_of_jpeg(file).orientation); }

Picture decode_png(std::string_view file) {
  const auto number = [&](std::size_t at, std::size_t bytes) {
    return number_at(file, at, bytes, ByteOrder::big, "PNG");
  };
  int orientation = 1;
  std::string to_decode(file.substr(0, 8));  // the signature
  std::string_view type;
  for (std::size_t at = 8; type != "IEND";) {
    const std::size_t length = number(at, 4);
    type = file.substr(at + 4, 4);
    require(file.size() - at >= 12 && length <= file.size() - at - 12, "a truncated PNG: it ends at byte ",
            file.size());
    const std::string_view typed = file.substr(at + 4, 4 + length), chunk = typed.substr(4);
    const bool needed = type[0] >= 'A' && type[0] <= 'Z', whole = crc32(typed) == number(at + 8 + length, 4);
    require(type != "CgBI", "a PNG in Apple's own variety, which isn't read");
    require(whole || !needed, "a corrupt PNG: the checksum of its ", printable(type), " is wrong");
    if (type == "IHDR") check_size("PNG", number(at + 8, 4), number(at + 12, 4));
    if (type == "eXIf" && whole) orientation = exif_orientation(chunk);
    if (type == "PLTE" && length <= 768) {
      // Pixels may name more colours than the palette has; stb_image would look beyond it. Those are black.
      to_decode += std::string("\0\0\3\0PLTE", 8) + std::string(chunk) + std::string(768 - length + 4, '\0');
    } else {
      to_decode += file.substr(at, 12 + length);
    }
    at += 12 + length;
  }
  return decode_by_stb(to_decode, "PNG", orientation);
}

}  // namespace stagewise
