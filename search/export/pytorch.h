// The network as a Python file that needs PyTorch and nothing of ours.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "layers/architecture.h"

namespace stagewise {

/// The text of network.py: the network as plain torch.nn modules, whose state_dict has the names and shapes that
/// as_pytorch() gives (search/training/foreign_model.h), and how to load and use it. `about` goes into its first lines;
/// `classes` may be empty.
std::string pytorch_source(const Architecture& architecture, const std::vector<std::string>& classes,
                           const std::map<std::string, std::string>& about);

}  // namespace stagewise
