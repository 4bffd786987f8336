// cudaMalloc and its kin: device memory, pools, pinned host memory.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "failures.h"
#include "memory.h"
#include "pinned.h"
#include "softgpu.h"
#include "streams.h"

using namespace softgpu;

namespace {

/// The one pool: a handle that nothing looks into.
int default_pool = 0;
cudaMemPool_t pool_handle() { return reinterpret_cast<cudaMemPool_t>(&default_pool); }

cudaError_t allocate_now(void** pointer, std::size_t bytes) {
  if (!pointer) return cudaErrorInvalidValue;
  *pointer = nullptr;
  if (const cudaError_t refused = refused_by_any_capture()) return refused;
  if (bytes == 0) return cudaSuccess;
  const std::uint64_t address = DeviceMemory::instance().allocate(bytes, "cudaMalloc");
  *pointer = reinterpret_cast<void*>(address);
  return address ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t allocate_on(void** pointer, std::size_t bytes, cudaStream_t handle) {
  Stream* const stream = find_stream(handle);
  if (!pointer || !stream) return pointer ? cudaErrorInvalidResourceHandle : cudaErrorInvalidValue;
  *pointer = nullptr;
  if (bytes == 0) return cudaErrorInvalidValue;
  if (const cudaError_t refused = refused_inside_capture(
          stream, "cudaMallocAsync inside a capture: the memory would be the graph's, and none between its launches")) {
    return refused;
  }
  if (const cudaError_t planted = planted_failure("cudaMallocAsync")) return planted;
  DeviceMemory& memory = DeviceMemory::instance();
  const std::uint64_t address = memory.reserve(bytes, "cudaMallocAsync");
  if (address == 0) return cudaErrorMemoryAllocation;
  *pointer = reinterpret_cast<void*>(address);
  enqueue(stream, "allocation", "cudaMallocAsync", [address] { DeviceMemory::instance().make_accessible(address); });
  return cudaSuccess;
}

cudaError_t refuse_free(const void* pointer) {
  const auto address = reinterpret_cast<std::uint64_t>(pointer);
  std::fprintf(stderr, "softgpu: freed: %s, which is no living allocation's start\n",
               DeviceMemory::instance().describe(address).c_str());
  return cudaErrorInvalidValue;
}

void release_now(std::uint64_t address) {
  DeviceMemory& memory = DeviceMemory::instance();
  if (!memory.release(address)) {
    throw DeviceError{cudaErrorIllegalAddress, "freed twice: " + memory.describe(address)};
  }
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  return api([&] { return allocate_now(pointer, bytes); });
}

cudaError_t cudaMallocPitch(void** pointer, std::size_t* pitch, std::size_t width, std::size_t height) {
  return api([&] {
    *pitch = (width + 511) / 512 * 512;
    return allocate_now(pointer, *pitch * height);
  });
}

cudaError_t cudaMallocManaged(void**, std::size_t, unsigned) {
  return api([&] { return cudaErrorNotSupported; });
}

cudaError_t cudaFree(void* pointer) {
  return api([&] {
    if (const cudaError_t refused = refused_by_any_capture()) return refused;
    if (!pointer) return cudaSuccess;
    synchronise_device();
    DeviceMemory& memory = DeviceMemory::instance();
    const auto address = reinterpret_cast<std::uint64_t>(pointer);
    const Allocation* const allocation = memory.find(address);
    if (!allocation || !memory.release(address)) return refuse_free(pointer);
    memory.return_budget(allocation->bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMallocAsync(void** pointer, std::size_t bytes, cudaStream_t stream) {
  return api([&] { return allocate_on(pointer, bytes, stream); });
}

cudaError_t cudaMallocFromPoolAsync(void** pointer, std::size_t bytes, cudaMemPool_t, cudaStream_t stream) {
  return api([&] { return allocate_on(pointer, bytes, stream); });
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t handle) {
  return api([&] {
    Stream* const stream = find_stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (!pointer) return cudaSuccess;
    const auto address = reinterpret_cast<std::uint64_t>(pointer);
    const Allocation* const allocation = DeviceMemory::instance().find(address);
    if (!allocation || !allocation->alive) return refuse_free(pointer);
    if (const cudaError_t refused = refused_inside_capture(
            stream, "cudaFreeAsync inside a capture: every launch of the graph would free the same memory again")) {
      return refused;
    }
    DeviceMemory::instance().return_budget(allocation->bytes);
    enqueue(stream, "free", "cudaFreeAsync", [address] { release_now(address); });
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return api([&] {
    *total = DeviceMemory::instance().total();
    *free = *total - std::min<std::uint64_t>(*total, DeviceMemory::instance().used());
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  return api([&] { return *pool = pool_handle(), cudaSuccess; });
}
cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int) {
  return api([&] { return *pool = pool_handle(), cudaSuccess; });
}
cudaError_t cudaDeviceSetMemPool(int, cudaMemPool_t) {
  return api([] { return cudaSuccess; });
}
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  return api([&] { return *pool = pool_handle(), cudaSuccess; });
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t) {
  return api([] { return cudaSuccess; });
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) {
  return api([] { return cudaSuccess; });
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  return api([] { return cudaSuccess; });
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void* value) {
  return api([&] {
    const bool wide = attribute >= cudaMemPoolAttrReleaseThreshold;
    const bool usage = attribute == cudaMemPoolAttrUsedMemCurrent || attribute == cudaMemPoolAttrReservedMemCurrent;
    if (wide) *static_cast<std::uint64_t*>(value) = usage ? DeviceMemory::instance().used() : 0;
    if (!wide) *static_cast<int*>(value) = 1;
    return cudaSuccess;
  });
}

cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned) {
  return api([&] {
    if (const cudaError_t refused = refused_by_any_capture()) return refused;
    *pointer = bytes == 0 ? nullptr : std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (bytes != 0 && !*pointer) return cudaErrorMemoryAllocation;
    if (bytes != 0) pin(*pointer, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) { return cudaHostAlloc(pointer, bytes, 0); }

cudaError_t cudaFreeHost(void* pointer) {
  return api([&] {
    if (!pointer) return cudaSuccess;
    synchronise_device();
    if (!unpin(pointer)) return cudaErrorInvalidValue;
    std::free(pointer);
    return cudaSuccess;
  });
}

cudaError_t cudaHostRegister(void* pointer, std::size_t bytes, unsigned) {
  return api([&] {
    if (is_pinned(pointer, 1)) return cudaErrorHostMemoryAlreadyRegistered;
    return pin(pointer, bytes), cudaSuccess;
  });
}

cudaError_t cudaHostUnregister(void* pointer) {
  return api([&] { return unpin(pointer) ? cudaSuccess : cudaErrorHostMemoryNotRegistered; });
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  return api([&] {
    if (!is_pinned(host, 1)) return cudaErrorInvalidValue;
    return *device = host, cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return api([&] {
    *attributes = {};
    const auto address = reinterpret_cast<std::uint64_t>(pointer);
    if (DeviceMemory::instance().contains(address)) {
      attributes->type = cudaMemoryTypeDevice;
      attributes->devicePointer = const_cast<void*>(pointer);
    } else if (is_pinned(pointer, 1)) {
      attributes->type = cudaMemoryTypeHost;
      attributes->devicePointer = attributes->hostPointer = const_cast<void*>(pointer);
    }
    return cudaSuccess;
  });
}

void softgpu_promise_bits(int promised) { settings().bits_promised = promised != 0; }

void softgpu_set_memory(uint64_t bytes) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  settings().memory_bytes = bytes;
}

int softgpu_report_leaks(void) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  int count = 0;
  for (const Allocation& each : DeviceMemory::instance().living()) {
    if (each.label.rfind("cudaMalloc", 0) != 0) continue;
    std::fprintf(stderr, "softgpu: leaked: %llu bytes at 0x%llx from %s\n", static_cast<unsigned long long>(each.bytes),
                 static_cast<unsigned long long>(each.address), each.label.c_str());
    ++count;
  }
  return count;
}

}  // extern "C"

namespace {
/// SOFTGPU_LEAKS: when the program ends.
struct LeaksAtExit {
  ~LeaksAtExit() {
    if (settings().report_leaks && softgpu_report_leaks() == 0) std::fprintf(stderr, "softgpu: nothing leaked\n");
  }
} leaks_at_exit;
}  // namespace
