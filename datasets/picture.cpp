#include "datasets/picture.h"

#include <algorithm>
#include <string>

#include "datasets/picture_formats.h"
#include "tensor/text.h"

namespace stagewise {
namespace {

using namespace std::literals;

struct Signature {
  std::size_t at;
  std::string_view bytes;
  const char* kind;
};

/// What isn't read, by its first bytes.
constexpr Signature kOtherFormats[] = {
    {0, "GIF8"sv, "a GIF"},
    {8, "WEBP"sv, "a WebP"},
    {4, "ftypavif"sv, "an AVIF"},
    {4, "ftypavis"sv, "an AVIF"},
    {4, "ftyphei"sv, "a HEIC"},
    {4, "ftyphev"sv, "a HEIC"},
    {4, "ftypmif1"sv, "a HEIC or AVIF"},
    {4, "ftypmsf1"sv, "a HEIC or AVIF"},
    {4, "ftyp"sv, "a video"},
    {0, "II*\0"sv, "a TIFF or a camera's raw file"},
    {0, "MM\0*"sv, "a TIFF or a camera's raw file"},
    {0, "\0\0\0\fjP  "sv, "a JPEG 2000"},
    {0, "\xFF\x4F\xFF\x51"sv, "a JPEG 2000"},
    {0, "\0\0\0\fJXL "sv, "a JPEG XL"},
    {0, "\xFF\x0A"sv, "a JPEG XL"},
    {0, "8BPS"sv, "a Photoshop file"},
    {0, "\0\0\1\0"sv, "an icon"},
    {0, "P1"sv, "a PBM"},
    {0, "P4"sv, "a PBM"},
    {0, "P7"sv, "a PAM"},
    {0, "PF"sv, "a PFM"},
    {0, "Pf"sv, "a PFM"},
    {0, "qoif"sv, "a QOI"},
    {0, "%PDF"sv, "a PDF"},
    {0, "PK\3\4"sv, "a ZIP archive"},
    {0, "\x1F\x8B"sv, "a gzip archive"},
    {0, "version https://git-lfs"sv, "a Git LFS pointer, not the file itself"},
};

bool starts_with(std::string_view file, std::string_view bytes) { return file.substr(0, bytes.size()) == bytes; }

/// What a file that isn't a picture we read is.
std::string kind_of(std::string_view file) {
  if (file.empty()) return "an empty file";
  for (const Signature& signature : kOtherFormats) {
    if (file.size() > signature.at && starts_with(file.substr(signature.at), signature.bytes)) return signature.kind;
  }
  const std::string_view beginning = file.substr(0, 512);
  const bool text = std::none_of(beginning.begin(), beginning.end(), [](char byte) {
    return static_cast<unsigned char>(byte) < ' ' && byte != '\n' && byte != '\r' && byte != '\t';
  });
  if (!text) return "no picture: it begins with " + printable(file.substr(0, 8));
  std::string lower(beginning);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter; });
  if (lower.find("<svg") != std::string::npos) return "an SVG";
  if (lower.find("<html") != std::string::npos || lower.find("<!doctype html") != std::string::npos) {
    return "a web page";
  }
  return "a text file";
}

}  // namespace

Picture decode_picture(std::string_view file) {
  if (starts_with(file, "\xFF\xD8"sv)) return decode_jpeg(file);
  if (starts_with(file, "\x89PNG\r\n\x1A\n"sv)) return decode_png(file);
  if (starts_with(file, "BM"sv)) return decode_bmp(file);
  for (const std::string_view pnm : {"P2"sv, "P3"sv, "P5"sv, "P6"sv}) {
    if (starts_with(file, pnm)) return decode_pnm(file);
  }
  fail(kind_of(file), "; JPEG, PNG, BMP, PPM and PGM are read");
}

}  // namespace stagewise
