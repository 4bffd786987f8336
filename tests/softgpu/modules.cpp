#include "modules.h"

#include <cstring>
#include <map>

#include "decoder.h"
#include "fat_binary.h"
#include "memory.h"

namespace softgpu {

/// A fat binary: its PTX is read, and its variables get memory, when something of it is first used.
struct Module {
  const void* wrapper = nullptr;
  bool loaded = false;
  PtxModule ptx;
  Symbols symbols;
};

namespace {

struct Shadow {
  Module* module = nullptr;
  std::string name;
  Variable variable;
};

struct Registry {
  std::map<const void*, Kernel> kernels;  // by host stub; addresses of elements are handles
  std::map<const void*, Shadow> shadows;
};

Registry& registry() {
  static auto* const instance = new Registry;
  return *instance;
}

void load(Module& module) {
  if (module.loaded) return;
  module.ptx = parse_ptx(find_ptx(module.wrapper, settings().compute_capability));
  module.loaded = true;
  DeviceMemory& memory = DeviceMemory::instance();
  for (const PtxVariable& each : module.ptx.variables) {
    if (each.space == "shared") continue;
    const std::string label = (each.space == "const" ? "__constant__ " : "__device__ ") + demangled(each.name);
    module.symbols.addresses[each.name] = memory.allocate(each.bytes, label);
  }
  for (const PtxVariable& each : module.ptx.variables) {
    if (each.space == "shared") continue;
    const std::uint64_t address = module.symbols.addresses[each.name];
    std::uint8_t* const bytes = memory.bytes_at(address);
    std::memset(bytes, 0, each.bytes);  // what has no initial value is zero
    memory.mark_initialised(address, each.bytes);
    if (!each.initial.empty()) std::memcpy(bytes, each.initial.data(), each.initial.size());
    for (const auto& [offset, symbol] : each.addresses) {
      std::memcpy(bytes + offset, &module.symbols.addresses.at(symbol), sizeof(std::uint64_t));
    }
  }
}

}  // namespace

Kernel* find_kernel(const void* stub_or_handle) {
  auto& kernels = registry().kernels;
  const auto found = kernels.find(stub_or_handle);
  if (found != kernels.end()) return &found->second;
  for (auto& [stub, kernel] : kernels) {
    if (&kernel == stub_or_handle) return &kernel;
  }
  return nullptr;
}

const Program& program_of(Kernel& kernel) {
  if (kernel.program) return *kernel.program;
  load(*kernel.module);
  const auto function = kernel.module->ptx.functions.find(kernel.name);
  if (function == kernel.module->ptx.functions.end()) {
    throw DeviceError{cudaErrorInvalidDeviceFunction, kernel.title + " isn't in the program's PTX"};
  }
  Decoder decoder(kernel.module->ptx, kernel.module->symbols);
  kernel.program = std::make_shared<const Program>(decoder.decode(function->second));
  return *kernel.program;
}

const Variable* find_variable(const void* shadow) {
  const auto found = registry().shadows.find(shadow);
  if (found == registry().shadows.end()) return nullptr;
  Shadow& entry = found->second;
  if (entry.variable.address == 0) {
    load(*entry.module);
    const auto address = entry.module->symbols.addresses.find(entry.name);
    if (address == entry.module->symbols.addresses.end()) return nullptr;
    entry.variable.address = address->second;
  }
  return &entry.variable;
}

}  // namespace softgpu

using namespace softgpu;

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  auto* const module = new Module;
  module->wrapper = wrapper;
  return reinterpret_cast<void**>(module);
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }

void __cudaRegisterFunction(void** handle, const char* stub, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  Kernel& kernel = registry().kernels[stub];
  kernel.name = name;
  kernel.title = demangled(name);
  kernel.module = reinterpret_cast<Module*>(handle);
}

void __cudaRegisterVar(void** handle, char* shadow, char*, const char* name, int, std::size_t bytes, int, int) {
  registry().shadows[shadow] = {reinterpret_cast<Module*>(handle), name, {0, bytes}};
}

}  // extern "C"
