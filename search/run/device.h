// Which device computes, and how.
#pragma once

#include <memory>
#include <string>

#include "cuda/plan_file.h"
#include "tensor/backend.h"

namespace stagewise {

struct DeviceOptions {
  std::string device = "auto";      // auto (CUDA where there is one, else the CPU), cpu, reference or cuda
  int threads = 0;                  // of the CPU; 0 takes one a core
  bool strict_convolution = false;  // no Winograd
  std::string tf32 = "off";         // on: CUDA's float32 convolutions may round their operands to 10 bits
  bool no_graph = false;            // CUDA queues each step anew instead of replaying a recorded one
  std::string precision = "fp32";   // what feature maps are stored in: fp32 or bf16
  std::string plans = "auto";       // CUDA's, a file; auto: own_plans() where it is there; none: cuDNN's order
};

/// Tuned plans, and the file that they are from.
struct Plans {
  std::string path;
  std::shared_ptr<const PlanFile> file;  // nullptr: none
};

/// Those that `options` ask for; none where CUDA isn't what they choose. Errors: throws Error for a file that was named
/// and can't be read, is none, or is of another device, driver or cuDNN; where it is the person's own, that is a remark
/// on standard error, and there are none.
Plans find_plans(const DeviceOptions& options);

/// The file that `stagewise tune` writes for a device and every run looks at: one a device, in the person's cache folder
/// ($XDG_CACHE_HOME, or ~/.cache). Empty where there is neither.
std::string own_plans(const PlanDevice& device);

/// Errors: throws Error for an unknown device, and for `cuda` where there is none, saying why and what to do.
std::unique_ptr<Backend> open_backend(const DeviceOptions& options, const Plans& plans);
/// With the plans that `options` ask for.
std::unique_ptr<Backend> open_backend(const DeviceOptions& options);

/// The type of feature maps. Errors: throws Error for an unknown precision, and for one that the backend lacks.
DType feature_map_type(const DeviceOptions& options, const Backend& backend);

}  // namespace stagewise
