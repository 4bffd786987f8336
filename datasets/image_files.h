// Files that hold a picture each: which there are in a folder, and what is in them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/dataset.h"

namespace stagewise {

/// One image as decode_picture sees it (datasets/picture.h), [height,width,3]: the whole image resized (its sides may
/// change their ratio) by a triangle filter that is as wide as the larger of the two pixels, so that shrinking
/// averages. Errors: throws Error with the path when the file can't be read or decoded.
std::vector<std::uint8_t> read_image(const std::string& path, std::int64_t height, std::int64_t width);
/// The same of a file's bytes. Errors: throws Error that says what is wrong, but not where.
std::vector<std::uint8_t> resized_image(const std::string& bytes, std::int64_t height, std::int64_t width);

/// Whether the name is an image's; also in formats that aren't read: they are refused by name, rather than missed in
/// silence.
bool has_image_name(const std::string& path);

/// Adds the images in `folder` and in the folders below it to `images`, in the order of their names, and what is
/// neither an image nor a folder, or hidden, to `passed_over` (printable). Errors: throws Error 16 folders deep.
void list_images(const std::string& folder, std::vector<std::string>& images, std::vector<std::string>& passed_over);

/// Files decoded into one block, in their order.
struct DecodedImages {
  std::vector<std::uint8_t> pixels;   // [files,height,width,3]; zeros where a file can't be decoded
  std::vector<std::string> problems;  // of each file: why it can't be, or ""
};

/// read_image() of all `files` by several threads (0: all cores). `progress` is told how many are done.
DecodedImages decode_images(const std::vector<std::string>& files, std::int64_t height, std::int64_t width, int threads,
                            const ProgressCallback& progress = {});

}  // namespace stagewise
