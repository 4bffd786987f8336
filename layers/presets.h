// Networks of the field by their names.
#pragma once

#include <string>

#include "layers/architecture.h"

namespace stagewise {

/// `resnet20`, `32`, `44`, `56`, `110` (He et al. 2016, section 4.2; by projections), `preresnet110`, `preresnet164`,
/// `wrn-16-4`, `wrn-28-10` for 10 classes of 32x32 pixels; `resnet18`, `34`, `50`, `101` as torchvision has them, for 1000
/// of 224x224. Errors: throws Error, with all names, for any other.
Architecture preset(const std::string& name);

/// `resnet20, resnet32, ...`: all that preset() takes.
std::string preset_names();

}  // namespace stagewise
