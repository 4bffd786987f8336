// Memory accesses of a warp, with every check.
#pragma once

#include <cstdint>

#include "warp.h"

namespace softgpu {

enum class AccessKind : std::uint8_t { read, write, atomic };

/// The addresses of an operation's lanes, before its space is resolved.
struct Addresses {
  std::uint64_t of[warp_lanes];
};
Addresses addresses_of(const Warp& warp, const Operation& op);

/// Checks an access of `bytes` bytes at each running lane's address (bounds, alignment, initialisation, races) and
/// gives the host addresses. The lanes' order is the one the settings ask for.
struct HostAddresses {
  std::uint8_t* of[warp_lanes];
};
HostAddresses check_access(Warp& warp, const Operation& op, const Addresses& addresses, std::uint32_t bytes,
                           AccessKind kind);

}  // namespace softgpu
