// Folders of JPEG, PNG, BMP, PPM and PGM images, a subfolder a class.
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

/// Reads `folder`/train/CLASS/**, which may hold folders in turn; behind them the images of `folder`/val/CLASS/** (or
/// valid/, or validation/) as those that are held out; `folder`/test/CLASS/** is listed now and decoded by load_test.
/// The classes are the sorted names of the folders in train/, and the images are in the order of class, then path.
/// Hidden files and those whose names are no images' are passed over, with a remark. Errors: throws Error when there is
/// nothing to train on, when a class folder holds no image, when val/ or test/ has a class that train/ lacks, and,
/// unless options.skip_unreadable, when images can't be read, naming the first five; a class that lost all of them
/// always is one.
Dataset open_image_folder(const std::string& folder, const DatasetOptions& options);

}  // namespace stagewise
