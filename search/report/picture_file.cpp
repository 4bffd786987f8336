#include "search/report/picture_file.h"

#include <algorithm>

#include "datasets/image_source.h"
#include "tensor/error.h"

#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace stagewise {

namespace {

constexpr std::int64_t kLargestPng = 64, kLargestJpeg = 128;
constexpr int kJpegQuality = 88;

struct Raster {
  int height = 0, width = 0, channels = 0;
  std::vector<std::uint8_t> pixels;
};

Raster raster_of(const Images& images, std::size_t index) {
  require(images.channels == 1 || images.channels == 3, "[picture] expected 1 or 3 channels, got ", images.channels);
  const std::int32_t indices[] = {static_cast<std::int32_t>(index)};
  return {static_cast<int>(images.height), static_cast<int>(images.width), static_cast<int>(images.channels),
          loaded(images, indices).pixels};
}

/// Each pixel the mean of `factor` x `factor` of them.
Raster shrunk(const Raster& large, int factor) {
  Raster small{large.height / factor, large.width / factor, large.channels, {}};
  for (int row = 0; row < small.height; ++row) {
    for (int column = 0; column < small.width; ++column) {
      for (int channel = 0; channel < small.channels; ++channel) {
        int sum = 0;
        for (int i = 0; i < factor * factor; ++i) {
          const int y = row * factor + i / factor, x = column * factor + i % factor;
          sum += large.pixels[static_cast<std::size_t>((y * large.width + x) * large.channels + channel)];
        }
        small.pixels.push_back(static_cast<std::uint8_t>(sum / (factor * factor)));
      }
    }
  }
  return small;
}

void append(void* file, void* bytes, int count) {
  static_cast<std::string*>(file)->append(static_cast<const char*>(bytes), static_cast<std::size_t>(count));
}

std::string png_of(const Raster& raster) {
  std::string file;
  const int done = stbi_write_png_to_func(append, &file, raster.width, raster.height, raster.channels,
                                          raster.pixels.data(), raster.width * raster.channels);
  require(done != 0, "[picture] a PNG could not be made of ", raster.width, "x", raster.height, " pixels");
  return file;
}

std::string jpeg_of(const Raster& raster) {
  std::string file;
  const int done = stbi_write_jpg_to_func(append, &file, raster.width, raster.height, raster.channels,
                                          raster.pixels.data(), kJpegQuality);
  require(done != 0, "[picture] a JPEG could not be made of ", raster.width, "x", raster.height, " pixels");
  return file;
}

}  // namespace

std::string png_of(const Images& images, std::size_t index) { return png_of(raster_of(images, index)); }

std::string data_uri_of(const Images& images, std::size_t index) {
  const Raster raster = raster_of(images, index);
  const std::int64_t side = std::max(images.height, images.width);
  if (side <= kLargestPng) return "data:image/png;base64," + base64(png_of(raster));
  const auto factor = static_cast<int>((side + kLargestJpeg - 1) / kLargestJpeg);
  return "data:image/jpeg;base64," + base64(jpeg_of(factor > 1 ? shrunk(raster, factor) : raster));
}

std::string base64(std::string_view bytes) {
  static constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < count ? static_cast<std::uint8_t>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) text += k <= count ? kLetters[bits >> (18 - 6 * k) & 63U] : '=';
  }
  return text;
}

}  // namespace stagewise
