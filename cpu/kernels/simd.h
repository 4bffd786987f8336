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

STAGEWISE_KERNELS_BEGIN

constexpr int kLanes = STAGEWISE_LANES;
typedef float Floats __attribute__((vector_size(kLanes * sizeof(float))));
typedef float UnalignedFloats __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

static inline Floats load(const float* from) { return *reinterpret_cast<const UnalignedFloats*>(from); }
static inline void store(float* to, Floats value) { *reinterpret_cast<UnalignedFloats*>(to) = value; }
static inline Floats broadcast(float value) { return value - Floats{}; }

/// The first `count` (1..kLanes) lanes, the others zero; reads nothing beyond them.
static inline Floats load_first(const float* from, int count) {
  if (count == kLanes) return load(from);
  Floats value{};
  for (int lane = 0; lane < count; ++lane) value[lane] = from[lane];
  return value;
}
static inline void store_first(float* to, Floats value, int count) {
  if (count == kLanes) return store(to, value);
  for (int lane = 0; lane < count; ++lane) to[lane] = value[lane];
}

/// max(x, 0); a NaN stays one, so that a training that diverges shows.
static inline Floats relu(Floats x) { return x < Floats{} ? Floats{} : x; }
/// value where condition > 0, else zero.
static inline Floats where_positive(Floats condition, Floats value) { return condition > Floats{} ? value : Floats{}; }

static inline float horizontal_sum(Floats value) {
  float sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += value[lane];
  return sum;
}

static inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

STAGEWISE_KERNELS_END
