// Kernel launches, and what can be asked about kernels.
#include <cstring>

#include "failures.h"
#include "interpreter.h"
#include "modules.h"
#include "program.h"
#include "softgpu.h"
#include "streams.h"

using namespace softgpu;

namespace {

/// What <<<grid, block, shared, stream>>> leaves for the stub it calls.
struct CallConfiguration {
  dim3 grid, block;
  std::size_t shared = 0;
  cudaStream_t stream = nullptr;
};
thread_local std::vector<CallConfiguration> configurations;

/// cudaSuccess, or why no device would take a launch of this size.
cudaError_t size_refused(const Kernel& kernel, dim3 grid, dim3 block, std::size_t shared) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  const bool positive = grid.x && grid.y && grid.z && block.x && block.y && block.z;
  if (!positive || threads > 1024 || block.x > 1024 || block.y > 1024 || block.z > 64 || grid.x > 2147483647u ||
      grid.y > 65535 || grid.z > 65535) {
    std::fprintf(stderr, "softgpu: %s: no device takes a grid of (%u,%u,%u) blocks of (%u,%u,%u) threads\n",
                 kernel.title.c_str(), grid.x, grid.y, grid.z, block.x, block.y, block.z);
    return cudaErrorInvalidConfiguration;
  }
  if (kernel.program->maximum_threads && threads > kernel.program->maximum_threads) {
    std::fprintf(stderr, "softgpu: %s: launched with %llu threads a block, its __launch_bounds__ allow %u\n",
                 kernel.title.c_str(), static_cast<unsigned long long>(threads), kernel.program->maximum_threads);
    return cudaErrorInvalidConfiguration;
  }
  if (shared > static_cast<std::size_t>(kernel.dynamic_shared_limit) ||
      shared + kernel.program->static_shared >
          static_cast<std::size_t>(std::max(kernel.dynamic_shared_limit, 48 << 10))) {
    std::fprintf(stderr, "softgpu: %s: %zu bytes of dynamic shared memory beside %u static ones; its limit is %d\n",
                 kernel.title.c_str(), shared, kernel.program->static_shared, kernel.dynamic_shared_limit);
    return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

cudaError_t launch(const void* function, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                   cudaStream_t handle) {
  return api([&] {
    Kernel* const kernel = find_kernel(function);
    Stream* const stream = find_stream(handle);
    if (!kernel || !stream) return kernel ? cudaErrorInvalidResourceHandle : cudaErrorInvalidDeviceFunction;
    if (stream->capture) {
      if (const cudaError_t planted = planted_failure("captured launch")) return planted;
    }
    try {
      program_of(*kernel);
    } catch (const DeviceError& error) {
      report(error);
      return error.code;
    }
    if (const cudaError_t refused = size_refused(*kernel, grid, block, shared)) return refused;
    Launch launch;
    launch.program = kernel->program.get();
    launch.title = kernel->title;
    launch.grid = grid;
    launch.block = block;
    launch.dynamic_shared = static_cast<std::uint32_t>(shared);
    launch.parameters.resize(launch.program->parameter_bytes);
    for (std::size_t i = 0; i < launch.program->parameters.size(); ++i) {
      const Parameter& parameter = launch.program->parameters[i];
      std::memcpy(launch.parameters.data() + parameter.offset, arguments[i], parameter.bytes);
    }
    enqueue(stream, "kernel " + kernel->name, kernel->title, [launch] { run_launch(launch); });
    return cudaSuccess;
  });
}

cudaError_t attributes_of(cudaFuncAttributes* attributes, const void* function) {
  Kernel* const kernel = find_kernel(function);
  if (!kernel) return cudaErrorInvalidDeviceFunction;
  const Program& program = program_of(*kernel);
  *attributes = {};
  attributes->sharedSizeBytes = program.static_shared;
  attributes->localSizeBytes = program.local_bytes;
  attributes->maxThreadsPerBlock = program.maximum_threads ? static_cast<int>(program.maximum_threads) : 1024;
  attributes->numRegs = 32;  // ptxas decides; the budget test reads its figures
  attributes->ptxVersion = attributes->binaryVersion = settings().compute_capability;
  attributes->maxDynamicSharedSizeBytes = kernel->dynamic_shared_limit;
  return cudaSuccess;
}

cudaError_t set_attribute(const void* function, cudaFuncAttribute attribute, int value) {
  Kernel* const kernel = find_kernel(function);
  if (!kernel) return cudaErrorInvalidDeviceFunction;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  cudaDeviceProp device;
  cudaGetDeviceProperties(&device, 0);
  if (value < 0 || value + program_of(*kernel).static_shared > device.sharedMemPerBlockOptin)
    return cudaErrorInvalidValue;
  kernel->dynamic_shared_limit = value;
  return cudaSuccess;
}

cudaError_t blocks_per_multiprocessor(int* blocks, const void* function, int threads, std::size_t shared) {
  Kernel* const kernel = find_kernel(function);
  if (!kernel) return cudaErrorInvalidDeviceFunction;
  cudaDeviceProp device;
  cudaGetDeviceProperties(&device, 0);
  const std::size_t used = shared + program_of(*kernel).static_shared + device.reservedSharedMemPerBlock;
  *blocks = std::min({device.maxThreadsPerMultiProcessor / threads, device.maxBlocksPerMultiProcessor,
                      static_cast<int>(device.sharedMemPerMultiprocessor / used)});
  return cudaSuccess;
}

/// As api(), for bodies that may have to decode the kernel.
template <class Body>
cudaError_t decoding_api(const Body& body) {
  return api([&] {
    try {
      return body();
    } catch (const DeviceError& error) {
      report(error);
      return error.code;
    }
  });
}

}  // namespace

extern "C" {

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, cudaStream_t stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
  if (configurations.empty()) return remember(cudaErrorMissingConfiguration);
  const CallConfiguration top = configurations.back();
  configurations.pop_back();
  *grid = top.grid;
  *block = top.block;
  *shared = top.shared;
  *static_cast<cudaStream_t*>(stream) = top.stream;
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* handle, const void* stub) {
  Kernel* const kernel = find_kernel(stub);
  *handle = reinterpret_cast<cudaKernel_t>(kernel);
  return kernel ? cudaSuccess : cudaErrorInvalidDeviceFunction;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                               cudaStream_t stream) {
  return launch(kernel, grid, block, arguments, shared, stream);
}

cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                                    cudaStream_t stream) {
  return launch(kernel, grid, block, arguments, shared, stream ? stream : cudaStreamPerThread);
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                             cudaStream_t stream) {
  return launch(function, grid, block, arguments, shared, stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttributeID id = config->attrs[i].id;
    if (id == cudaLaunchAttributeCooperative || id == cudaLaunchAttributeClusterDimension)
      return remember(cudaErrorNotSupported);
  }
  return launch(function, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes, config->stream);
}

cudaError_t cudaLaunchCooperativeKernel(const void*, dim3, dim3, void**, std::size_t, cudaStream_t) {
  std::fprintf(stderr, "softgpu: cooperative launches are not supported: blocks run one after another\n");
  return remember(cudaErrorNotSupported);
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return decoding_api([&] { return attributes_of(attributes, function); });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return decoding_api([&] { return set_attribute(function, attribute, value); });
}

cudaError_t cudaFuncSetCacheConfig(const void*, cudaFuncCache) { return cudaSuccess; }

cudaError_t cudaFuncGetName(const char** name, const void* function) {
  return api([&] {
    Kernel* const kernel = find_kernel(function);
    if (kernel) *name = kernel->name.c_str();
    return kernel ? cudaSuccess : cudaErrorInvalidDeviceFunction;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int threads,
                                                          std::size_t shared) {
  return decoding_api([&] { return blocks_per_multiprocessor(blocks, function, threads, shared); });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function, int threads,
                                                                   std::size_t shared, unsigned) {
  return decoding_api([&] { return blocks_per_multiprocessor(blocks, function, threads, shared); });
}

}  // extern "C"
