#include "search/run/device.h"

#include <iostream>

#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "cuda/cuda_backend.h"

namespace stagewise {

namespace {

CudaOptions cuda_options(const DeviceOptions& options) {
  return {.tf32 = options.tf32 == "on",
          .strict_convolution = options.strict_convolution,
          .record = !options.no_graph,
          .report = [](const std::string& line) { std::cerr << line << '\n'; }};
}

}  // namespace

std::unique_ptr<Backend> open_backend(const DeviceOptions& options) {
  require(options.tf32 == "on" || options.tf32 == "off", "[--tf32] expected on or off, got `", options.tf32, "`");
  const std::string& device = options.device;
  if (device == "reference") return make_reference_backend();
  if (device == "cuda") return make_cuda_backend(cuda_options(options));
  require(device == "auto" || device == "cpu", "[--device] expected auto, cpu, reference or cuda, got `", device, "`");
  if (device == "auto" && cuda_unavailable().empty()) return make_cuda_backend(cuda_options(options));
  return make_cpu_backend({.threads = options.threads,
                           .instruction_set = {},
                           .strict_convolution = options.strict_convolution,
                           .guarded = false});
}

DType feature_map_type(const DeviceOptions& options, const Backend& backend) {
  require(options.precision == "fp32" || options.precision == "bf16", "[--precision] expected fp32 or bf16, got `",
          options.precision, "`");
  const DType type = options.precision == "bf16" ? DType::bfloat16 : DType::float32;
  require(backend.supports(type), "[--precision] device `", backend.name(), "` computes with fp32 only");
  return type;
}

}  // namespace stagewise
