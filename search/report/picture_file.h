// Pictures as files are: PNG and JPEG (stb_image_write encodes them), and as a page holds them within itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "datasets/dataset.h"

namespace stagewise {

/// The image at `index` as a PNG file's bytes. Errors: throws Error for images of other than 1 or 3 channels.
std::string png_of(const Images& images, std::size_t index);

/// The image as the value of an <img>'s src: small ones as PNG, pixel by pixel; those with a side of more than 64
/// pixels as JPEG, shrunk by a whole factor to sides of at most 128.
std::string data_uri_of(const Images& images, std::size_t index);

/// RFC 4648's base 64, padded.
std::string base64(std::string_view bytes);

}  // namespace stagewise
