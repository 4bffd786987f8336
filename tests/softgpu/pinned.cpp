#include "pinned.h"

#include <cstdint>
#include <map>

namespace softgpu {
namespace {
std::map<std::uintptr_t, std::size_t>& ranges() {
  static auto* const instance = new std::map<std::uintptr_t, std::size_t>;
  return *instance;
}
}  // namespace

void pin(void* pointer, std::size_t bytes) { ranges()[reinterpret_cast<std::uintptr_t>(pointer)] = bytes; }

bool unpin(void* pointer) { return ranges().erase(reinterpret_cast<std::uintptr_t>(pointer)) != 0; }

bool is_pinned(const void* pointer, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  auto above = ranges().upper_bound(address);
  if (above == ranges().begin()) return false;
  --above;
  return address - above->first <= above->second && bytes <= above->second - (address - above->first);
}

}  // namespace softgpu
