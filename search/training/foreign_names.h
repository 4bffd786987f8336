// Names that others give the tensors of residual networks.
#pragma once

#include "tensor/safetensors.h"

namespace stagewise {

/// Where the tensors are called as in torchvision's residual networks (`layer1.0.conv1.weight`, `fc.weight`), or as in those
/// of akamaster/pytorch_resnet_cifar10 (`linear.weight`, `shortcut.0.weight`), gives them our names; else does nothing.
void rename_field_networks(Safetensors& file);

}  // namespace stagewise
