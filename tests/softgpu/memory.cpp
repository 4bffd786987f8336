#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "runtime.h"

namespace softgpu {
namespace {

constexpr std::uint64_t page_bytes = 4096;

/// Address space without memory: the host gives pages as they are touched.
std::uint8_t* map_range(std::uint64_t bytes, int protection) {
  void* at = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    std::fprintf(stderr, "softgpu: the host refuses %llu GiB of address space (ulimit -v? vm.overcommit_memory=2?)\n",
                 static_cast<unsigned long long>(bytes >> 30));
    std::exit(2);
  }
  return static_cast<std::uint8_t*>(at);
}

/// Zeroes a range, and gives its whole pages back.
void discard(std::uint8_t* begin, std::uint64_t bytes) {
  std::uint8_t* const end = begin + bytes;
  const auto up = [](std::uint8_t* p) { return (reinterpret_cast<std::uintptr_t>(p) + page_bytes - 1) & -page_bytes; };
  std::uint8_t* const first = reinterpret_cast<std::uint8_t*>(up(begin));
  std::uint8_t* const last = reinterpret_cast<std::uint8_t*>(reinterpret_cast<std::uintptr_t>(end) & -page_bytes);
  if (last <= first) {
    std::memset(begin, 0, bytes);
    return;
  }
  std::memset(begin, 0, static_cast<std::size_t>(first - begin));
  madvise(first, static_cast<std::size_t>(last - first), MADV_DONTNEED);
  std::memset(last, 0, static_cast<std::size_t>(end - last));
}

}  // namespace

DeviceMemory& DeviceMemory::instance() {
  static DeviceMemory* const memory = new DeviceMemory;  // outlives every static object of the program
  return *memory;
}

DeviceMemory::DeviceMemory() {
  base_ = reinterpret_cast<std::uint64_t>(map_range(range_bytes, PROT_NONE));
  storage_ = map_range(range_bytes, PROT_READ | PROT_WRITE);
  states_ = map_range(range_bytes, PROT_READ | PROT_WRITE);
  cells_ = reinterpret_cast<AccessCell*>(map_range(range_bytes * sizeof(AccessCell) / 4, PROT_READ | PROT_WRITE));
}

std::uint64_t DeviceMemory::total() const { return settings().memory_bytes; }

std::uint64_t DeviceMemory::place(std::uint64_t bytes) {
  const std::uint64_t room = (bytes + 255) / 256 * 256 + 2 * gap_bytes;
  for (int round = 0; round < 2; ++round) {
    std::uint64_t begin = cursor_;
    for (auto it = allocations_.lower_bound(base_ + begin); begin + room <= range_bytes; ++it) {
      while (it != allocations_.end() && !it->second.alive) ++it;
      if (it == allocations_.end() || it->first - base_ >= begin + room) {
        cursor_ = begin + room - gap_bytes;
        forget_freed(base_ + begin, base_ + begin + room);
        return base_ + begin + gap_bytes;
      }
      begin = (it->first - base_ + it->second.bytes + 255) / 256 * 256;
    }
    cursor_ = first_offset;
  }
  return 0;
}

void DeviceMemory::forget_freed(std::uint64_t begin, std::uint64_t end) {
  for (auto it = allocations_.lower_bound(begin); it != allocations_.end() && it->first < end;) {
    it = it->second.alive ? std::next(it) : allocations_.erase(it);
  }
}

std::uint64_t DeviceMemory::reserve(std::uint64_t bytes, const std::string& label) {
  if (bytes > total() - std::min(used_, total())) return 0;
  const std::uint64_t address = place(std::max<std::uint64_t>(bytes, 1));
  if (address == 0) return 0;
  allocations_[address] = {address, bytes, label, true};
  used_ += bytes;
  return address;
}

std::uint64_t DeviceMemory::allocate(std::uint64_t bytes, const std::string& label) {
  const std::uint64_t address = reserve(bytes, label);
  if (address != 0) make_accessible(address);
  return address;
}

void DeviceMemory::make_accessible(std::uint64_t address) {
  Allocation& allocation = allocations_.at(address);
  allocation.alive = true;
  std::memset(states_at(address), byte_uninitialised, allocation.bytes);
  std::memset(bytes_at(address), 0xff, allocation.bytes);  // NaNs: what slips past the checks shows
}

bool DeviceMemory::release(std::uint64_t address) {
  const auto it = allocations_.find(address);
  if (it == allocations_.end() || !it->second.alive) return false;
  Allocation& allocation = it->second;
  allocation.alive = false;
  discard(states_at(address), allocation.bytes);
  discard(bytes_at(address), allocation.bytes);
  discard(reinterpret_cast<std::uint8_t*>(cells_at(address)), (allocation.bytes + 3) / 4 * sizeof(AccessCell));
  return true;
}

const Allocation* DeviceMemory::find(std::uint64_t address) const {
  const auto it = allocations_.find(address);
  return it == allocations_.end() ? nullptr : &it->second;
}

const Allocation* DeviceMemory::nearest(std::uint64_t address) const {
  const auto above = allocations_.upper_bound(address);
  const Allocation* const next = above == allocations_.end() ? nullptr : &above->second;
  if (above == allocations_.begin()) return next;
  const Allocation* const previous = &std::prev(above)->second;
  if (!next || address < previous->address + previous->bytes) return previous;
  return address - (previous->address + previous->bytes) <= next->address - address ? previous : next;
}

std::vector<Allocation> DeviceMemory::living() const {
  std::vector<Allocation> result;
  for (const auto& [address, allocation] : allocations_) {
    if (allocation.alive) result.push_back(allocation);
  }
  return result;
}

bool DeviceMemory::accessible(std::uint64_t address, std::uint64_t bytes) const {
  if (!contains(address) || bytes > range_bytes - (address - base_)) return false;
  const auto above = allocations_.upper_bound(address);
  if (above == allocations_.begin()) return false;
  const Allocation& allocation = std::prev(above)->second;
  if (address - allocation.address > allocation.bytes || bytes > allocation.bytes - (address - allocation.address)) {
    return false;
  }
  return bytes == 0 ? allocation.alive : states_at(address)[0] != byte_inaccessible;
}

std::uint64_t DeviceMemory::first_uninitialised(std::uint64_t address, std::uint64_t bytes) const {
  const std::uint8_t* const states = states_at(address);
  return static_cast<std::uint64_t>(std::find(states, states + bytes, byte_uninitialised) - states);
}

void DeviceMemory::mark_initialised(std::uint64_t address, std::uint64_t bytes) {
  std::memset(states_at(address), byte_initialised, bytes);
}

void DeviceMemory::discard_cells() {
  for (const auto& [address, allocation] : allocations_) {
    if (!allocation.alive) continue;
    discard(reinterpret_cast<std::uint8_t*>(cells_at(address)), (allocation.bytes + 3) / 4 * sizeof(AccessCell));
  }
}

std::string DeviceMemory::describe(std::uint64_t address) const {
  const Allocation* const near = contains(address) ? nearest(address) : nullptr;
  const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  if (address < 4096) return text("0x%llx is a null pointer or near one", number(address));
  if (!near) return text("0x%llx is no device memory", number(address));
  const std::string what =
      text("%s of %llu bytes at 0x%llx", near->label.c_str(), number(near->bytes), number(near->address));
  if (address < near->address) {
    return text("0x%llx lies %llu bytes before the %s", number(address), number(near->address - address), what.c_str());
  }
  if (address >= near->address + near->bytes) {
    const std::uint64_t past = address - near->address - near->bytes;
    return text("0x%llx lies %llu bytes past the end of the %s%s", number(address), number(past),
                near->alive ? "" : "freed ", what.c_str());
  }
  return text("0x%llx lies %llu bytes into the %s%s", number(address), number(address - near->address),
              near->alive ? "" : "freed ", what.c_str());
}

}  // namespace softgpu
