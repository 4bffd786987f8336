// Device memory. Device addresses lie in a range that the host has reserved but can't touch; the bytes lie in a second
// range, at a fixed distance, and two shadows beside it say of each byte whether it may be accessed and whether
// anything has written it, and of each four bytes who accessed them last (races.h).
//
// Allocations keep a distance from each other, and freed addresses come back only once the whole range is used up: a
// stray or late access hits what belongs to nobody.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace softgpu {

/// One byte's state in the shadow.
enum ByteState : std::uint8_t {
  byte_inaccessible = 0,
  byte_uninitialised = 1,
  byte_initialised = 2,
  byte_arriving = 3,  // of shared memory: a cp.async is on its way
};

/// The last write and read of four bytes (races.h says how they are packed); zero is "none".
struct AccessCell {
  std::uint64_t write = 0;
  std::uint64_t read = 0;
};

struct Allocation {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::string label;  // "cudaMalloc", "__device__ table"
  bool alive = true;
};

class DeviceMemory {
 public:
  static DeviceMemory& instance();

  /// An address aligned to 256 bytes, of `bytes` uninitialised bytes; 0 where the device is full.
  std::uint64_t allocate(std::uint64_t bytes, const std::string& label);
  /// An address that may not be accessed yet, for memory that a stream brings to life later; 0 where the device is
  /// full.
  std::uint64_t reserve(std::uint64_t bytes, const std::string& label);
  void make_accessible(std::uint64_t address);
  /// False where `address` is no living allocation's start. The bytes are given back to the host.
  bool release(std::uint64_t address);
  /// Counts the memory as free again, though a stream still holds it; release() follows when the stream gets there.
  void return_budget(std::uint64_t bytes) { used_ -= bytes; }

  /// The allocation that starts at `address`, alive or freed; null where there is none.
  const Allocation* find(std::uint64_t address) const;
  /// The allocation that holds `address` or, failing that, the nearest one below it or above.
  const Allocation* nearest(std::uint64_t address) const;
  std::vector<Allocation> living() const;

  bool contains(std::uint64_t address) const { return address - base_ < range_bytes; }
  /// Whether all of [address, address + bytes) lies inside one living allocation.
  bool accessible(std::uint64_t address, std::uint64_t bytes) const;
  /// Where the first uninitialised byte of the range is; `bytes` where all are initialised.
  std::uint64_t first_uninitialised(std::uint64_t address, std::uint64_t bytes) const;
  void mark_initialised(std::uint64_t address, std::uint64_t bytes);

  std::uint8_t* bytes_at(std::uint64_t address) const { return storage_ + (address - base_); }
  std::uint8_t* states_at(std::uint64_t address) const { return states_ + (address - base_); }
  AccessCell* cells_at(std::uint64_t address) const { return cells_ + (address - base_) / 4; }

  /// Zeroes the cells of all living allocations.
  void discard_cells();

  /// What is wrong with an access there, for people: which allocation it misses, and by how much.
  std::string describe(std::uint64_t address) const;

  std::uint64_t used() const { return used_; }
  static constexpr std::uint64_t size() { return range_bytes; }
  std::uint64_t total() const;

  /// The first bytes of the range are no memory but the windows through which generic addresses reach a block's shared
  /// memory, a thread's local memory and a launch's parameters.
  std::uint64_t window(int index) const { return base_ + static_cast<std::uint64_t>(index) * window_bytes; }
  static constexpr std::uint64_t window_bytes = 1ull << 30;

 private:
  DeviceMemory();
  std::uint64_t place(std::uint64_t bytes);
  void forget_freed(std::uint64_t begin, std::uint64_t end);

  static constexpr std::uint64_t range_bytes = 256ull << 30;
  static constexpr std::uint64_t first_offset = 4 * window_bytes;
  static constexpr std::uint64_t gap_bytes = 256;  // between allocations: a stray access of a few elements hits nothing

  std::uint64_t base_ = 0;
  std::uint8_t* storage_ = nullptr;
  std::uint8_t* states_ = nullptr;
  AccessCell* cells_ = nullptr;
  std::uint64_t cursor_ = first_offset;
  std::uint64_t used_ = 0;
  std::map<std::uint64_t, Allocation> allocations_;  // by address; the freed ones too, for messages
};

}  // namespace softgpu
