#include "search/run/device.h"

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "cuda/cuda_backend.h"
#include "tensor/atomic_file.h"

namespace stagewise {

namespace {

bool takes_cuda(const DeviceOptions& options) {
  return options.device == "cuda" || (options.device == "auto" && cuda_unavailable().empty());
}

CudaOptions cuda_options(const DeviceOptions& options, const Plans& plans) {
  return {.tf32 = options.tf32 == "on",
          .strict_convolution = options.strict_convolution,
          .plans = plans.file,
          .record = !options.no_graph,
          .report = [](const std::string& line) { std::cerr << line << '\n'; }};
}

Plans read_plans(const std::string& path, const PlanDevice& device) {
  auto file = std::make_shared<PlanFile>(PlanFile::from_json(read_file(path), path));
  require(file->device == device, "[plans] `", path, "` was tuned on ", file->device.text(), ", and here is ",
          device.text(), ": tune again (stagewise tune), or go without (--plans none)");
  return {.path = path, .file = std::move(file)};
}

}  // namespace

std::string own_plans(const PlanDevice& device) {
  const char *const cache = std::getenv("XDG_CACHE_HOME"), *const home = std::getenv("HOME");
  std::filesystem::path folder;
  if (cache != nullptr && *cache == '/') {
    folder = cache;
  } else if (home != nullptr && *home == '/') {
    folder = std::filesystem::path(home) / ".cache";
  } else {
    return "";
  }
  std::string name = device.device.substr(0, device.device.find(','));
  for (char& letter : name) {
    if (std::isalnum(static_cast<unsigned char>(letter)) == 0) letter = '-';
  }
  return folder / "stagewise" / (name + ".plans.json");
}

Plans find_plans(const DeviceOptions& options) {
  if (!takes_cuda(options) || options.plans == "none") return {};
  const PlanDevice device = plan_device();
  if (options.plans != "auto") return read_plans(options.plans, device);
  const std::string own = own_plans(device);
  std::error_code error;
  if (own.empty() || !std::filesystem::exists(own, error)) return {};
  try {
    return read_plans(own, device);
  } catch (const Error& why) {
    std::cerr << why.what() << "\n[plans] this goes on without\n";
    return {};
  }
}

std::unique_ptr<Backend> open_backend(const DeviceOptions& options) {
  return open_backend(options, find_plans(options));
}

std::unique_ptr<Backend> open_backend(const DeviceOptions& options, const Plans& plans) {
  require(options.tf32 == "on" || options.tf32 == "off", "[--tf32] expected on or off, got `", options.tf32, "`");
  const std::string& device = options.device;
  if (device == "reference") return make_reference_backend();
  if (takes_cuda(options)) return make_cuda_backend(cuda_options(options, plans));
  require(device == "auto" || device == "cpu", "[--device] expected auto, cpu, reference or cuda, got `", device, "`");
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
