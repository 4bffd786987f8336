// cudaMemcpy and cudaMemset. An asynchronous copy reads and writes pinned host memory when it runs, as late as is
// legal; pageable memory is copied away at the call or waited for, as CUDA promises ("API synchronization behavior").
#include "copies.h"

#include <cstring>

#include "memory.h"
#include "modules.h"
#include "pinned.h"
#include "races.h"
#include "softgpu.h"
#include "streams.h"

using namespace softgpu;

namespace softgpu {

void* host_address(std::uint64_t address, std::uint64_t bytes, bool write) {
  DeviceMemory& memory = DeviceMemory::instance();
  if (!memory.contains(address)) {
    void* const host = reinterpret_cast<void*>(address);
    if (is_pinned(host, bytes)) return host;
  }
  if (!memory.accessible(address, bytes)) {
    std::uint64_t stray = address;
    if (const Allocation* near = memory.nearest(address);
        near && address - near->address < near->bytes && near->alive) {
      if (address + bytes > near->address + near->bytes) stray = near->address + near->bytes;
    }
    throw DeviceError{cudaErrorIllegalAddress,
                      text("%s %s %llu bytes at 0x%llx: ", running().c_str(), write ? "writes" : "reads",
                           static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(address)) +
                          memory.describe(stray)};
  }
  if (bytes == 0) return memory.bytes_at(address);
  access_range(address, bytes, write);
  if (write) memory.mark_initialised(address, bytes);
  const std::uint64_t gap =
      write || !settings().check_uninitialised ? bytes : memory.first_uninitialised(address, bytes);
  if (gap < bytes) {
    throw DeviceError{cudaErrorIllegalAddress,
                      running() + " reads memory that nothing has written: " + memory.describe(address + gap)};
  }
  return memory.bytes_at(address);
}

}  // namespace softgpu

namespace {

std::uint64_t number(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }
bool on_device(const void* pointer) { return DeviceMemory::instance().contains(number(pointer)); }

/// Copies when the stream gets there.
void copy_now(void* to, const void* from, std::size_t bytes) {
  if (on_device(to) && on_device(from)) {
    // What is uninitialised stays so: copying padding is no mistake.
    DeviceMemory& memory = DeviceMemory::instance();
    std::vector<std::uint8_t> states(memory.states_at(number(from)), memory.states_at(number(from)) + bytes);
    if (memory.accessible(number(from), bytes)) memory.mark_initialised(number(from), bytes);
    std::memmove(host_address(number(to), bytes, true), host_address(number(from), bytes, false), bytes);
    std::memcpy(memory.states_at(number(from)), states.data(), bytes);
    std::memmove(memory.states_at(number(to)), states.data(), bytes);
    return;
  }
  void* const target = on_device(to) ? host_address(number(to), bytes, true) : to;
  const void* const source = on_device(from) ? host_address(number(from), bytes, false) : from;
  std::memmove(target, source, bytes);
}

/// Whether `kind` fits the pointers, which say the truth themselves.
bool kind_fits(const void* to, const void* from, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return kind == cudaMemcpyDefault ||
         ((on_device(to) || is_pinned(to, 1)) >= to_device && on_device(to) <= to_device &&
          (on_device(from) || is_pinned(from, 1)) >= from_device && on_device(from) <= from_device);
}

/// Whether a device range fits the allocation that it starts in: CUDA refuses others at the call.
bool range_fits(const void* pointer, std::size_t bytes) {
  if (!on_device(pointer)) return true;
  const Allocation* const near = DeviceMemory::instance().nearest(number(pointer));
  return near && number(pointer) - near->address <= near->bytes &&
         bytes <= near->bytes - (number(pointer) - near->address);
}

cudaError_t refuse_copy(const char* why, const void* to, const void* from, std::size_t bytes) {
  std::fprintf(stderr, "softgpu: copy of %zu bytes refused: %s; to %p (%s), from %p (%s)\n", bytes, why, to,
               on_device(to) ? DeviceMemory::instance().describe(number(to)).c_str() : "host", from,
               on_device(from) ? DeviceMemory::instance().describe(number(from)).c_str() : "host");
  return cudaErrorInvalidValue;
}

cudaError_t copy_on(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t handle,
                    bool asynchronous) {
  Stream* const stream = find_stream(handle);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  if (!to || !from) return refuse_copy("a null pointer", to, from, bytes);
  if (!kind_fits(to, from, kind)) return refuse_copy("its kind doesn't fit the pointers", to, from, bytes);
  if (!range_fits(to, bytes) || !range_fits(from, bytes))
    return refuse_copy("it leaves an allocation", to, from, bytes);
  const bool pageable_source = !on_device(from) && !is_pinned(from, bytes);
  const bool pageable_target = !on_device(to) && !is_pinned(to, bytes);
  const bool wait = !asynchronous ? !(on_device(to) && on_device(from)) : pageable_target;
  if (pageable_source || pageable_target) {
    if (const cudaError_t refused = refused_inside_capture(
            stream,
            "a copy from or to pageable host memory inside a capture: every launch of the graph would use that address "
            "again, whatever lies there then")) {
      return refused;
    }
  }
  if (!asynchronous) {
    if (const cudaError_t refused = refused_by_capture(stream)) return refused;
  }
  const std::string name = text("%s of %zu bytes", asynchronous ? "cudaMemcpyAsync" : "cudaMemcpy", bytes);
  if (asynchronous && pageable_source) {
    const auto* const begin = static_cast<const std::uint8_t*>(from);
    const std::vector<std::uint8_t> staged(begin, begin + bytes);
    enqueue(stream, "copy", name, [to, staged] { copy_now(to, staged.data(), staged.size()); });
  } else {
    enqueue(stream, "copy", name, [to, from, bytes] { copy_now(to, from, bytes); });
  }
  if (wait) synchronise(stream);
  return cudaSuccess;
}

cudaError_t set_on(void* pointer, int value, std::size_t bytes, cudaStream_t handle) {
  Stream* const stream = find_stream(handle);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  if (!on_device(pointer) || !range_fits(pointer, bytes)) {
    return refuse_copy("cudaMemset outside an allocation", pointer, pointer, bytes);
  }
  enqueue(stream, "memset", text("cudaMemset of %zu bytes", bytes),
          [=] { std::memset(host_address(number(pointer), bytes, true), value, bytes); });
  return cudaSuccess;
}

cudaError_t symbol_address(const void* symbol, std::size_t bytes, std::size_t offset, void** address) {
  const Variable* const variable = find_variable(symbol);
  if (!variable) return cudaErrorInvalidSymbol;
  if (offset > variable->bytes || bytes > variable->bytes - offset) return cudaErrorInvalidValue;
  *address = reinterpret_cast<void*>(variable->address + offset);
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return api([&] { return copy_on(to, from, bytes, kind, cudaStreamLegacy, false); });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return api([&] { return copy_on(to, from, bytes, kind, stream, true); });
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return api([&] {
    for (std::size_t row = 0; row < height; ++row) {
      const cudaError_t code = copy_on(static_cast<char*>(to) + row * to_pitch,
                                       static_cast<const char*>(from) + row * from_pitch, width, kind, stream, true);
      if (code != cudaSuccess) return code;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                         std::size_t height, cudaMemcpyKind kind) {
  const cudaError_t code = cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width, height, kind, cudaStreamLegacy);
  return code != cudaSuccess ? code : cudaStreamSynchronize(cudaStreamLegacy);
}

cudaError_t cudaMemset(void* pointer, int value, std::size_t bytes) {
  return api([&] { return set_on(pointer, value, bytes, cudaStreamLegacy); });
}

cudaError_t cudaMemsetAsync(void* pointer, int value, std::size_t bytes, cudaStream_t stream) {
  return api([&] { return set_on(pointer, value, bytes, stream); });
}

cudaError_t cudaGetSymbolAddress(void** address, const void* symbol) {
  return api([&] { return symbol_address(symbol, 0, 0, address); });
}

cudaError_t cudaGetSymbolSize(std::size_t* bytes, const void* symbol) {
  return api([&] {
    const Variable* const variable = find_variable(symbol);
    if (variable) *bytes = variable->bytes;
    return variable ? cudaSuccess : cudaErrorInvalidSymbol;
  });
}

cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* from, std::size_t bytes, std::size_t offset,
                                    cudaMemcpyKind kind, cudaStream_t stream) {
  return api([&] {
    void* address = nullptr;
    const cudaError_t code = symbol_address(symbol, bytes, offset, &address);
    return code != cudaSuccess ? code : copy_on(address, from, bytes, kind, stream, true);
  });
}

cudaError_t cudaMemcpyFromSymbolAsync(void* to, const void* symbol, std::size_t bytes, std::size_t offset,
                                      cudaMemcpyKind kind, cudaStream_t stream) {
  return api([&] {
    void* address = nullptr;
    const cudaError_t code = symbol_address(symbol, bytes, offset, &address);
    return code != cudaSuccess ? code : copy_on(to, address, bytes, kind, stream, true);
  });
}

cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, std::size_t bytes, std::size_t offset,
                               cudaMemcpyKind kind) {
  const cudaError_t code = cudaMemcpyToSymbolAsync(symbol, from, bytes, offset, kind, cudaStreamLegacy);
  return code != cudaSuccess ? code : cudaStreamSynchronize(cudaStreamLegacy);
}

cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, std::size_t bytes, std::size_t offset,
                                 cudaMemcpyKind kind) {
  const cudaError_t code = cudaMemcpyFromSymbolAsync(to, symbol, bytes, offset, kind, cudaStreamLegacy);
  return code != cudaSuccess ? code : cudaStreamSynchronize(cudaStreamLegacy);
}

}  // extern "C"
