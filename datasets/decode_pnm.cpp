// Netpbm's pixmaps and greymaps (netpbm.sourceforge.net/doc/ppm.html): `P6 width height maximum`, one white space, then
// the samples, of two bytes (the high one first) where the maximum is above 255. P3 and P2 are the same in words.
#include <cctype>

#include "datasets/picture_formats.h"

namespace stagewise {
namespace {

/// Reads the numbers of a header, or of a picture in words.
class Words {
 public:
  Words(std::string_view file, const char* format) : file_(file), format_(format) {}

  /// The next number, of at most `largest`. In the header a # begins a comment, which the line ends.
  std::int64_t next(const char* what, std::int64_t largest, bool in_header) {
    while (at_ < file_.size() && (is_space() || (in_header && file_[at_] == '#'))) {
      if (file_[at_] == '#') at_ = std::min(file_.find_first_of("\r\n", at_), file_.size() - 1);
      ++at_;
    }
    require(at_ < file_.size(), "a truncated ", format_, ": it ends before its ", what);
    std::int64_t number = 0;
    const std::size_t first = at_;
    for (; at_ < file_.size() && std::isdigit(static_cast<unsigned char>(file_[at_])) != 0; ++at_) {
      number = number * 10 + (file_[at_] - '0');
      require(number <= largest, "a ", format_, " whose ", what, " is above ", largest);
    }
    require(at_ > first && (at_ == file_.size() || is_space() || (in_header && file_[at_] == '#')), "a corrupt ",
            format_, ": its ", what, " is no number");
    return number;
  }

  std::size_t at() const { return at_; }

 private:
  bool is_space() const { return std::isspace(static_cast<unsigned char>(file_[at_])) != 0; }

  std::string_view file_;
  const char* format_;
  std::size_t at_ = 2;  // behind P6
};

}  // namespace

Picture decode_pnm(std::string_view file) {
  const char kind = file.at(1);
  const bool colour = kind == '3' || kind == '6', in_words = kind == '2' || kind == '3';
  const char* const format = colour ? "PPM" : "PGM";
  Words words(file, format);
  const std::int64_t columns = words.next("width", kMaxPixels, true), rows = words.next("height", kMaxPixels, true);
  check_size(format, columns, rows);
  const std::int64_t maximum = words.next("maximum", 65535, true);
  require(maximum > 0, "a corrupt ", format, ": its maximum is 0");

  const std::int64_t samples = columns * rows * (colour ? 3 : 1);
  const std::size_t bytes = maximum > 255 ? 2 : 1, first = words.at() + 1;
  // In words a sample takes a digit and a space, but for the last: enough to tell a header without a picture.
  const auto needed = in_words ? static_cast<std::size_t>(2 * samples - 1) : static_cast<std::size_t>(samples) * bytes;
  require(first <= file.size() && file.size() - first >= needed, "a truncated ", format, ": its ", columns, "x", rows,
          " pixels need ", needed, " bytes, there are ", file.size() - std::min(first, file.size()));
  Picture picture{.height = rows, .width = columns, .pixels = {}};
  picture.pixels.reserve(static_cast<std::size_t>(columns * rows * 3));
  for (std::int64_t i = 0; i < samples; ++i) {
    const std::int64_t sample =
        in_words ? words.next("sample", maximum, false)
                 : number_at(file, first + static_cast<std::size_t>(i) * bytes, bytes, ByteOrder::big, format);
    require(sample <= maximum, "a corrupt ", format, ": a sample is ", sample, ", above its maximum ", maximum);
    const auto value = static_cast<std::uint8_t>((sample * 255 + maximum / 2) / maximum);
    for (int repeat = 0; repeat < (colour ? 1 : 3); ++repeat) picture.pixels.push_back(value);
  }
  return picture;
}

}  // namespace stagewise
