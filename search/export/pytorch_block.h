// The residual blocks in the PyTorch file that are neither plain networks' nor the paper's.
#pragma once

#include <string>

#include "layers/architecture.h"

namespace stagewise {

/// `class ResidualBlock(nn.Module)` of a standard network's kind of block and shortcut, made with the channels that come in,
/// the stage's width and the stride.
std::string pytorch_block(const Architecture& architecture);

}  // namespace stagewise
