#include "tensor/xxh64.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iomanip>
#include <sstream>

namespace stagewise {
namespace {

constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F, kPrime3 = 0x165667B19E3779F9,
                        kPrime4 = 0x85EBCA77C2B2AE63, kPrime5 = 0x27D4EB2F165667C5;

template <class T>
T little_endian(const unsigned char* bytes) {
  static_assert(std::endian::native == std::endian::little, "xxh64 needs its bytes swapped here");
  T number;
  std::memcpy(&number, bytes, sizeof number);
  return number;
}

std::uint64_t xxh_round(std::uint64_t lane, std::uint64_t input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

}  // namespace

Xxh64::Xxh64(std::uint64_t seed)
    : seed_(seed), lanes_{seed + kPrime1 + kPrime2, seed + kPrime2, seed, seed - kPrime1}, rest_{} {}

// Four lanes that don't wait for one another.
void Xxh64::add_stripe(const unsigned char* bytes) {
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    lanes_[i] = xxh_round(lanes_[i], little_endian<std::uint64_t>(bytes + 8 * i));
  }
}

void Xxh64::add(const void* bytes, std::size_t count) {
  const auto* at = static_cast<const unsigned char*>(bytes);
  const unsigned char* const end = at + count;
  const std::size_t waiting = count_ % kStripe;
  count_ += count;
  if (waiting > 0) {
    const std::size_t taken = std::min(count, kStripe - waiting);
    std::copy(at, at + taken, rest_.begin() + waiting);
    at += taken;
    if (waiting + taken < kStripe) return;
    add_stripe(rest_.data());
  }
  for (; end - at >= static_cast<std::ptrdiff_t>(kStripe); at += kStripe) add_stripe(at);
  std::copy(at, end, rest_.begin());
}

std::uint64_t Xxh64::digest() const {
  std::uint64_t hash = seed_ + kPrime5;
  if (count_ >= kStripe) {
    hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) + std::rotl(lanes_[3], 18);
    for (const std::uint64_t lane : lanes_) hash = (hash ^ xxh_round(0, lane)) * kPrime1 + kPrime4;
  }
  hash += count_;
  const unsigned char *at = rest_.data(), *const end = at + count_ % kStripe;
  for (; end - at >= 8; at += 8) {
    hash = std::rotl(hash ^ xxh_round(0, little_endian<std::uint64_t>(at)), 27) * kPrime1 + kPrime4;
  }
  if (end - at >= 4) {
    hash = std::rotl(hash ^ little_endian<std::uint32_t>(at) * kPrime1, 23) * kPrime2 + kPrime3;
    at += 4;
  }
  for (; at < end; ++at) hash = std::rotl(hash ^ *at * kPrime5, 11) * kPrime1;
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

std::uint64_t xxh64(const void* bytes, std::size_t count, std::uint64_t seed) {
  Xxh64 hash(seed);
  hash.add(bytes, count);
  return hash.digest();
}

std::string digest_text(std::uint64_t digest) {
  std::ostringstream text;
  text << std::hex << std::setfill('0') << std::setw(16) << digest;
  return text.str();
}

}  // namespace stagewise
