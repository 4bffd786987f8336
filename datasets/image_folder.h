// Folders of JPEG, PNG, BMP and PPM images, a subfolder a class.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/dataset.h"

namespace stagewise {

/// One image as RGB [height,width,3]: grey is repeated, alpha dropped, and the whole image resized (its sides may
/// change their ratio) by a triangle filter that is as wide as the larger of the two pixels, so that shrinking
/// averages. Errors: throws Error with the path when the file can't be read or decoded, or has more than 2^26 pixels.
std::vector<std::uint8_t> read_image(const std::string& path, std::int64_t height, std::int64_t width);

/// Reads `folder`/train/CLASS/*; `folder`/test/CLASS/* is listed now and decoded by load_test. The classes are the
/// sorted names of the folders in train/ that hold images, and the images are in the order of class, then file name.
/// Hidden files, other files and folders without images are passed over, with a remark. Errors: throws Error when there
/// is nothing to train on, when test/ has a class that train/ lacks, and, unless options.skip_unreadable, when images
/// can't be decoded, naming the first five.
Dataset open_image_folder(const std::string& folder, const DatasetOptions& options);

}  // namespace stagewise
