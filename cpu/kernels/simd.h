// Vectors of STAGEWISE_LANES floats through GCC's vector extensions: `a * b + c` on them becomes one fused
// multiply-add.
//
// Kernel files are compiled once for each instruction set, so they must not instantiate anything from the standard
// library: the linker would keep one copy of an inline function for the whole program, perhaps one that uses
// instructions the machine lacks. Everything here has internal linkage or lives in the instruction set's own namespace.
#pragma once

#include <cstddef>
#include <cstdint>

#define STAGEWISE_KERNELS_BEGIN \
  namespace stagewise::cpu {    \
  namespace STAGEWISE_INSTRUCTION_SET {
#define STAGEWISE_KERNELS_END \
  }                           \
  }

#define STAGEWISE_INLINE inline __attribute__((always_inline))

STAGEWISE_KERNELS_BEGIN

constexpr int kLanes = STAGEWISE_LANES;
typedef float Floats __attribute__((vector_size(kLanes * sizeof(float))));
typedef float UnalignedFloats __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

static inline Floats load(const float* from) { return *reinterpret_cast<const UnalignedFloats*>(from); }
static inline void store(float* to, Floats value) { *reinterpret_cast<UnalignedFloats*>(to) = value; }

typedef std::uint32_t Bits __attribute__((vector_size(kLanes * sizeof(float))));
typedef std::uint16_t HalfBits __attribute__((vector_size(kLanes * sizeof(std::uint16_t)), aligned(2), may_alias));

/// Floats whose upper halves lie in memory: bfloat16.
static inline Floats load(const std::uint16_t* from) {
  return reinterpret_cast<Floats>(__builtin_convertvector(*reinterpret_cast<const HalfBits*>(from), Bits) << 16);
}
/// The upper halves, rounded to nearest, ties to even; a NaN stays one.
static inline Bits rounded(Floats value) {
  const Bits bits = reinterpret_cast<Bits>(value);
  return value != value ? Bits{} + 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
static inline void store(std::uint16_t* to, Floats value) {
  *reinterpret_cast<HalfBits*>(to) = __builtin_convertvector(rounded(value), HalfBits);
}

static inline Floats broadcast(float value) { return value - Floats{}; }

/// The first `count` (1..kLanes) lanes, the others zero; reads nothing beyond them.
static STAGEWISE_INLINE Floats load_first(const float* from, int count) {
  if (count == kLanes) return load(from);
  Floats value{};
  for (int lane = 0; lane < count; ++lane) value[lane] = from[lane];
  return value;
}
static STAGEWISE_INLINE void store_first(float* to, Floats value, int count) {
  if (count == kLanes) return store(to, value);
  for (int lane = 0; lane < count; ++lane) to[lane] = value[lane];
}

static STAGEWISE_INLINE Floats load_first(const std::uint16_t* from, int count) {
  if (count == kLanes) return load(from);
  Bits bits{};
  for (int lane = 0; lane < count; ++lane) bits[lane] = static_cast<std::uint32_t>(from[lane]) << 16;
  return reinterpret_cast<Floats>(bits);
}
static STAGEWISE_INLINE void store_first(std::uint16_t* to, Floats value, int count) {
  if (count == kLanes) return store(to, value);
  const Bits bits = rounded(value);
  for (int lane = 0; lane < count; ++lane) to[lane] = static_cast<std::uint16_t>(bits[lane]);
}

/// max(x, 0); a NaN stays one, so that a training that diverges shows.
static inline Floats relu(Floats x) { return x < Floats{} ? Floats{} : x; }
/// value where condition > 0, else zero.
static inline Floats where_positive(Floats condition, Floats value) { return condition > Floats{} ? value : Floats{}; }

/// Lane by lane, which the compiler makes the instruction set's own.
static STAGEWISE_INLINE Floats square_root(Floats value) {
  for (int lane = 0; lane < kLanes; ++lane) value[lane] = __builtin_sqrtf(value[lane]);
  return value;
}

static inline float horizontal_sum(Floats value) {
  float sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += value[lane];
  return sum;
}

static inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

/// A whole vector's count, known when compiling: load_first and store_first are then plain.
struct WholeVector {
  constexpr operator int() const { return kLanes; }
};

/// Calls body(at, lanes) for the vectors of `count` elements or channels, lanes being a WholeVector for all but a last
/// one that is cut short.
template <class Body>
static STAGEWISE_INLINE void for_vectors(std::int64_t count, const Body& body) {
  std::int64_t at = 0;
  for (; at + kLanes <= count; at += kLanes) body(at, WholeVector{});
  if (at < count) body(at, static_cast<int>(count - at));
}

/// Calls body(first, pixels) for runs of pixels that are still in L1 when the next vector of channels passes over them.
template <class Body>
static STAGEWISE_INLINE void for_runs(std::int64_t pixels, std::int64_t channels, const Body& body) {
  constexpr std::int64_t kRunFloats = 2048;
  const std::int64_t run = channels < kRunFloats / 8 ? kRunFloats / channels : 8;
  for (std::int64_t first = 0; first < pixels; first += run) body(first, smaller(run, pixels - first));
}

/// While a vector of channels passes over a run: fetches its share of the run behind, `count` floats from `next` on.
template <class Element>
static STAGEWISE_INLINE void fetch_share(const Element* next, std::int64_t count, std::int64_t channel,
                                         std::int64_t channels) {
  const std::int64_t share = count * kLanes / channels;
  const Element* const from = next + channel * count / channels;
  for (std::int64_t at = 0; at < share; at += 64 / static_cast<int>(sizeof(Element))) __builtin_prefetch(from + at);
}

STAGEWISE_KERNELS_END
