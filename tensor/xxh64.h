// XXH64 (Collet's xxHash, doc/xxhash_spec.md): several gigabytes a second, the same on every machine. It tells a change,
// not a forgery.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace stagewise {

/// The hash of bytes that come piece by piece: where they are cut makes no difference.
class Xxh64 {
 public:
  explicit Xxh64(std::uint64_t seed = 0);

  void add(const void* bytes, std::size_t count);
  /// Of all that was added so far.
  std::uint64_t digest() const;

 private:
  static constexpr std::size_t kStripe = 32;

  void add_stripe(const unsigned char* bytes);

  std::uint64_t seed_, count_ = 0;
  std::array<std::uint64_t, 4> lanes_;
  std::array<unsigned char, kStripe> rest_;  // the last count_ % kStripe bytes
};

/// The hash of bytes that are all there.
std::uint64_t xxh64(const void* bytes, std::size_t count, std::uint64_t seed = 0);

/// A hash as people see it: 16 hexadecimal digits.
std::string digest_text(std::uint64_t digest);

}  // namespace stagewise
