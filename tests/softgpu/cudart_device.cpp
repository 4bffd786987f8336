// The device: one, made up, with the limits of real ones.
#include <cstdio>
#include <cstring>

#include "memory.h"
#include "softgpu.h"
#include "streams.h"

using namespace softgpu;

namespace {

/// Bytes of shared memory a block may have when it opts in (CUDA C++ programming guide, table of compute capabilities).
int shared_optin() {
  switch (settings().compute_capability) {
    case 75: return 64 << 10;
    case 80:
    case 87: return 163 << 10;
    case 90:
    case 100:
    case 103: return 227 << 10;
    default: return 99 << 10;
  }
}

cudaError_t attribute(int* value, cudaDeviceAttr attr) {
  cudaDeviceProp p;
  cudaGetDeviceProperties(&p, 0);
  switch (attr) {
    case cudaDevAttrMaxThreadsPerBlock: return *value = p.maxThreadsPerBlock, cudaSuccess;
    case cudaDevAttrMaxBlockDimX: return *value = p.maxThreadsDim[0], cudaSuccess;
    case cudaDevAttrMaxBlockDimY: return *value = p.maxThreadsDim[1], cudaSuccess;
    case cudaDevAttrMaxBlockDimZ: return *value = p.maxThreadsDim[2], cudaSuccess;
    case cudaDevAttrMaxGridDimX: return *value = p.maxGridSize[0], cudaSuccess;
    case cudaDevAttrMaxGridDimY: return *value = p.maxGridSize[1], cudaSuccess;
    case cudaDevAttrMaxGridDimZ: return *value = p.maxGridSize[2], cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock: return *value = static_cast<int>(p.sharedMemPerBlock), cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return *value = static_cast<int>(p.sharedMemPerBlockOptin), cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return *value = static_cast<int>(p.sharedMemPerMultiprocessor), cudaSuccess;
    case cudaDevAttrReservedSharedMemoryPerBlock: return *value = 1024, cudaSuccess;
    case cudaDevAttrWarpSize: return *value = p.warpSize, cudaSuccess;
    case cudaDevAttrMaxRegistersPerBlock: return *value = p.regsPerBlock, cudaSuccess;
    case cudaDevAttrMultiProcessorCount: return *value = p.multiProcessorCount, cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor: return *value = p.maxThreadsPerMultiProcessor, cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: return *value = p.major, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: return *value = p.minor, cudaSuccess;
    case cudaDevAttrL2CacheSize: return *value = p.l2CacheSize, cudaSuccess;
    case cudaDevAttrClockRate: return *value = 1000000, cudaSuccess;
    case cudaDevAttrMemoryClockRate: return *value = 1000000, cudaSuccess;
    case cudaDevAttrGlobalMemoryBusWidth: return *value = p.memoryBusWidth, cudaSuccess;
    case cudaDevAttrMemoryPoolsSupported:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrCanMapHostMemory: return *value = 1, cudaSuccess;
    default: return *value = 0, cudaSuccess;
  }
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  return api([&] { return *count = 1, cudaSuccess; });
}
cudaError_t cudaGetDevice(int* device) {
  return api([&] { return *device = 0, cudaSuccess; });
}
cudaError_t cudaSetDevice(int device) {
  return api([&] { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; });
}
cudaError_t cudaInitDevice(int device, unsigned, unsigned) { return cudaSetDevice(device); }
cudaError_t cudaSetDeviceFlags(unsigned) { return cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  return api([&] {
    if (device != 0) return cudaErrorInvalidDevice;
    *p = {};
    std::snprintf(p->name, sizeof p->name, "stagewise software GPU (sm_%d)", settings().compute_capability);
    p->major = settings().compute_capability / 10;
    p->minor = settings().compute_capability % 10;
    p->totalGlobalMem = DeviceMemory::instance().total();
    p->sharedMemPerBlock = 48 << 10;
    p->sharedMemPerBlockOptin = static_cast<std::size_t>(shared_optin());
    p->sharedMemPerMultiprocessor = p->sharedMemPerBlockOptin + 1024;
    p->reservedSharedMemPerBlock = 1024;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 2147483647;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->totalConstMem = 64 << 10;
    p->multiProcessorCount = 4;  // few: what sizes its grid by this stays small here
    p->maxThreadsPerMultiProcessor = settings().compute_capability == 75 ? 1024 : 2048;
    p->maxBlocksPerMultiProcessor = 16;
    p->l2CacheSize = 4 << 20;
    p->memoryBusWidth = 256;
    p->memPitch = 2147483647;
    p->textureAlignment = 512;
    p->concurrentKernels = p->unifiedAddressing = p->canMapHostMemory = p->asyncEngineCount = 1;
    p->streamPrioritiesSupported = p->memoryPoolsSupported = p->hostRegisterSupported = 1;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attr, int device) {
  return api([&] { return device == 0 ? attribute(value, attr) : cudaErrorInvalidDevice; });
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int) {
  std::snprintf(id, static_cast<std::size_t>(length), "0000:00:00.0");
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return *least = 0, *greatest = -5, cudaSuccess;
}
cudaError_t cudaDeviceSetLimit(cudaLimit, std::size_t) { return cudaSuccess; }
cudaError_t cudaDeviceGetLimit(std::size_t* value, cudaLimit) { return *value = 0, cudaSuccess; }
cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache) { return cudaSuccess; }
cudaError_t cudaProfilerStart(void) { return cudaSuccess; }
cudaError_t cudaProfilerStop(void) { return cudaSuccess; }

cudaError_t cudaDeviceSynchronize(void) {
  return api([] {
    if (const cudaError_t refused = refused_by_any_capture()) return refused;
    synchronise_device();
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceReset(void) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  synchronise_device();
  forget_sticky_error();
  return cudaSuccess;
}

}  // extern "C"
