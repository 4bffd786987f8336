#include "modules.h"

#include <fatbinary_section.h>

#include <map>

#include "fat_binary.h"
#include "memory.h"

namespace softgpu {

struct Module {
  const void* image = nullptr;
};

namespace {

struct Registry {
  std::map<const void*, Kernel> kernels;  // by host stub; addresses of elements are handles
  std::map<const void*, std::pair<Module*, std::string>> shadows;
  std::map<const void*, Variable> variables;
};

Registry& registry() {
  static auto* const instance = new Registry;
  return *instance;
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
  throw DeviceError{cudaErrorNotSupported, kernel.title + ": the software GPU has no PTX interpreter yet"};
}

const Variable* find_variable(const void* shadow) {
  const auto found = registry().variables.find(shadow);
  return found == registry().variables.end() ? nullptr : &found->second;
}

}  // namespace softgpu

using namespace softgpu;

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  auto* const module = new Module{wrapper};
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
  registry().shadows[shadow] = {reinterpret_cast<Module*>(handle), name};
  registry().variables[shadow].bytes = bytes;
}

}  // extern "C"
