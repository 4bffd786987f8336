// Which device computes, and how.
#pragma once

#include <memory>
#include <string>

#include "tensor/backend.h"

namespace stagewise {

struct DeviceOptions {
  std::string device = "auto";      // auto (CUDA where there is one, else the CPU), cpu, reference or cuda
  int threads = 0;                  // of the CPU; 0 takes one a core
  bool strict_convolution = false;  // no Winograd
  std::string tf32 = "off";         // on: CUDA's float32 convolutions may round their operands to 10 bits
  bool no_graph = false;            // CUDA queues each step anew instead of replaying a recorded one
  std::string precision = "fp32";   // what feature maps are stored in: fp32 or bf16
};

/// Errors: throws Error for an unknown device, and for `cuda` where there is none, saying why and what to do.
std::unique_ptr<Backend> open_backend(const DeviceOptions& options);

/// The type of feature maps. Errors: throws Error for an unknown precision, and for one that the backend lacks.
DType feature_map_type(const DeviceOptions& options, const Backend& backend);

}  // namespace stagewise
