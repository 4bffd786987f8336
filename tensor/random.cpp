#include "tensor/random.h"

#include "tensor/distributions.h"

namespace stagewise {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0], product1 = kMultiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

namespace {

std::array<std::uint32_t, 4> block(std::uint64_t seed, std::uint64_t stream, std::uint64_t number) {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  return philox4x32({low(number), high(number), low(stream), high(stream)}, {low(seed), high(seed)});
}

}  // namespace

std::uint32_t Random::bits(std::uint64_t index) const { return block(seed_, stream_, index / 4)[index % 4]; }

double Random::uniform(std::uint64_t index) const { return uniform_of(bits(index)); }

std::uint64_t Random::below(std::uint64_t index, std::uint64_t bound) const {
  const auto words = block(seed_, stream_, index);
  const std::uint64_t wide = (static_cast<std::uint64_t>(words[0]) << 32) | words[1];
  __extension__ typedef unsigned __int128 Product;  // the high half of a 64 x 64-bit product
  return static_cast<std::uint64_t>((static_cast<Product>(wide) * bound) >> 64);
}

double Random::normal(std::uint64_t index) const {
  const auto words = block(seed_, stream_, index / 2);
  const std::size_t first = 2 * (index % 2);
  return normal_of(words[first], words[first + 1]);
}

std::uint64_t stream_of(const char* name, std::uint64_t a, std::uint64_t b) {
  std::uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&hash](std::uint64_t byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (; *name; ++name) mix(static_cast<unsigned char>(*name));
  for (const std::uint64_t word : {a, b}) {
    for (int shift = 0; shift < 64; shift += 8) mix((word >> shift) & 0xff);
  }
  return hash;
}

}  // namespace stagewise
