// Folders of JPEG, PNG, BMP, PPM and PGM images, a subfolder a class.
#pragma once

#include <string>

#include "datasets/dataset.h"

namespace stagewise {

/// Reads `folder`/train/CLASS/**, which may hold folders in turn; behind them the images of `folder`/val/CLASS/** (or
/// valid/, or validation/) as those that are held out; `folder`/test/CLASS/** is listed now and decoded by load_test.
/// The classes are the sorted names of the folders in train/, and the images are in the order of class, then path.
/// Hidden files and those whose names are no images' are passed over, with a remark. Errors: throws Error when there is
/// nothing to train on, when a class folder holds no image, when val/ or test/ has a class that train/ lacks, and,
/// unless options.skip_unreadable, when images can't be read, naming the first five; a class that lost all of them
/// always is one.
Dataset open_image_folder(const std::string& folder, const DatasetOptions& options);

/// For an evaluation, when nothing is trained: the classes are the names of the folders in `folder`/test/ (in train/
/// where there is no test set) or, with neither, in `folder` itself. Errors: throws Error when there is none, or one
/// that holds no image.
Dataset open_test_images(const std::string& folder, const DatasetOptions& options);

/// Whether a folder in `folder` holds images: the outside of a test set that stands alone.
bool holds_class_folders(const std::string& folder);

}  // namespace stagewise
