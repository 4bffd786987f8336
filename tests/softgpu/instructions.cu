#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <sstream>
#include <type_traits>

#include "instructions.h"

namespace softgpu_test {
namespace {

template <class F, class T, class R>
__global__ void apply_kernel(const T* a, const T* b, const T* c, R* d, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) d[i] = F::device(a[i], b[i], c[i]);
}

template <class T>
T* upload(const std::vector<T>& values) {
  T* pointer = nullptr;
  cudaMalloc(&pointer, values.size() * sizeof(T));
  cudaMemcpy(pointer, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice);
  return pointer;
}

template <class T>
std::vector<T> download(T* pointer, std::size_t count) {
  std::vector<T> values(count);
  cudaMemcpy(values.data(), pointer, count * sizeof(T), cudaMemcpyDeviceToHost);
  cudaFree(pointer);
  return values;
}

template <class T>
std::vector<T> awkward_values() {
  if constexpr (std::is_floating_point_v<T>) {
    const T infinity = std::numeric_limits<T>::infinity();
    return {0,
            T(-0.0),
            1,
            -1,
            T(0.1),
            T(-2.5),
            3,
            T(1e-30),
            T(1.5e9),
            T(-7e18),
            std::numeric_limits<T>::max(),
            std::numeric_limits<T>::denorm_min(),
            infinity,
            -infinity,
            std::numeric_limits<T>::quiet_NaN()};
  } else {
    return {0,
            1,
            T(-1),
            2,
            7,
            31,
            32,
            33,
            100,
            T(-100),
            T(0x12345678),
            std::numeric_limits<T>::max(),
            std::numeric_limits<T>::min(),
            T(0x0123456789abcdefull),
            T(0xfedcba9876543210ull)};
  }
}

template <class R>
bool same(R a, R b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}
bool same(__nv_bfloat16 a, __nv_bfloat16 b) { return std::memcmp(&a, &b, sizeof a) == 0; }
bool same(__half a, __half b) { return std::memcmp(&a, &b, sizeof a) == 0; }

/// F::device on the device against F::host on the host, over all triples of awkward values.
template <class F, class T, class R>
std::string compare() {
  std::vector<T> a, b, c;
  const std::vector<T> values = awkward_values<T>();
  for (const T x : values) {
    for (const T y : values) {
      for (const T z : values) a.push_back(x), b.push_back(y), c.push_back(z);
    }
  }
  const int count = static_cast<int>(a.size());
  T *const on_a = upload(a), *const on_b = upload(b), *const on_c = upload(c);
  R* result = nullptr;
  cudaMalloc(&result, count * sizeof(R));
  apply_kernel<F, T, R><<<(count + 127) / 128, 128>>>(on_a, on_b, on_c, result, count);
  const std::vector<R> got = download(result, a.size());
  cudaFree(on_a), cudaFree(on_b), cudaFree(on_c);
  for (int i = 0; i < count; ++i) {
    const R expected = F::host(a[i], b[i], c[i]);
    if (same(got[i], expected)) continue;
    std::ostringstream text;
    text.precision(20);
    text << "of " << +a[i] << ", " << +b[i] << ", " << +c[i] << ": got " << static_cast<double>(got[i]) << ", expected "
         << static_cast<double>(expected);
    return text.str();
  }
  return "";
}

// What both compilers know how to compute from the same source: nvcc's PTX against g++'s code.
#define SOFTGPU_BOTH(name, type, result, expression)                                        \
  struct name {                                                                             \
    static __host__ __device__ result both(type a, type b, type c) { return (expression); } \
    static __device__ result device(type a, type b, type c) { return both(a, b, c); }       \
    static result host(type a, type b, type c) { return both(a, b, c); }                    \
  };
// An intrinsic, and the host's way to say it.
#define SOFTGPU_PAIR(name, type, result, on_device, on_host)                                 \
  struct name {                                                                              \
    static __device__ result device(type a, type b, type c) { return (void)c, (on_device); } \
    static result host(type a, type b, type c) { return (void)b, (void)c, (on_host); }       \
  };

using u32 = std::uint32_t;
using s32 = std::int32_t;
using u64 = unsigned long long;
using s64 = long long;

SOFTGPU_BOTH(Arithmetic32, u32, u32, a* b + c - (a ^ b))
SOFTGPU_BOTH(Division32, s32, s32, b == 0 || b == -1 ? c : a / b - a % b)
SOFTGPU_BOTH(UnsignedDivision32, u32, u32, b == 0 ? c : a / b + 3 * (a % b))
SOFTGPU_BOTH(Arithmetic64, u64, u64, a* b + c - (a ^ (b & c)))
SOFTGPU_BOTH(Division64, s64, s64, b == 0 || b == -1 ? c : a / b - a % b)
SOFTGPU_BOTH(UnsignedDivision64, u64, u64, b == 0 ? c : a / b + 3 * (a % b))
SOFTGPU_BOTH(Shifts, u32, u32, (a << (b & 31)) + (a >> (c & 31)) + static_cast<u32>(static_cast<s32>(a) >> (b & 31)))
SOFTGPU_BOTH(Shifts64, u64, u64, (a << (b & 63)) + (a >> (c & 63)) + static_cast<u64>(static_cast<s64>(a) >> (b & 63)))
SOFTGPU_BOTH(Comparisons, s32, s32,
             (a < b) + 2 * (b <= c) + 4 * (a == c) + 8 * (static_cast<u32>(a) < static_cast<u32>(c)))
SOFTGPU_BOTH(Narrow, s32, s32,
             static_cast<std::int8_t>(a) * static_cast<std::uint8_t>(b) +
                 static_cast<std::int16_t>(c) * static_cast<std::uint16_t>(a))
SOFTGPU_BOTH(MinimumMaximum, s32, s32, (a < b ? a : b) ^ (b > c ? b : c))
SOFTGPU_BOTH(FloatComparisons, float, s32, (a < b) + 2 * (b <= c) + 4 * (a == c) + 8 * (a != b) + 16 * !(a < c))
SOFTGPU_BOTH(DoubleComparisons, double, s32, (a < b) + 2 * (b <= c) + 4 * (a == c) + 8 * (a != b) + 16 * !(a < c))
SOFTGPU_BOTH(FromIntegers, s32, float, static_cast<float>(a) + static_cast<float>(static_cast<u32>(b)))
SOFTGPU_BOTH(FromLongIntegers, s64, double, static_cast<double>(a) + static_cast<double>(static_cast<u64>(b)))
SOFTGPU_BOTH(FloatToDouble, float, double, static_cast<double>(a))
SOFTGPU_BOTH(DoubleToFloat, double, float, static_cast<float>(a))

/// a * b + c, rounded down or up.
float rounded(int mode, float a, float b, float c) {
  volatile double x = a, y = b, z = c;
  std::fesetround(mode);
  volatile float result = static_cast<float>(std::fma(x, y, z));  // rounding twice in one direction is rounding once
  std::fesetround(FE_TONEAREST);
  return result;
}
SOFTGPU_PAIR(FloatArithmetic, float, float, __fadd_rn(__fmul_rn(a, b), c), static_cast<float>(a* b) + c)
SOFTGPU_PAIR(FloatDivision, float, float, __fdiv_rn(a, b), a / b)
SOFTGPU_PAIR(FloatRoots, float, float, __fsqrt_rn(a), std::sqrt(a))
SOFTGPU_PAIR(FusedMultiplyAdd, float, float, __fmaf_rn(a, b, c), std::fma(a, b, c))
SOFTGPU_PAIR(DoubleFusedMultiplyAdd, double, double, __fma_rn(a, b, c), std::fma(a, b, c))
SOFTGPU_PAIR(DirectedRounding, float, float, __fmaf_rd(a, b, c) - __fadd_ru(a, b),
             rounded(FE_DOWNWARD, a, b, c) - rounded(FE_UPWARD, a, 1, b))
SOFTGPU_PAIR(DoubleDivision, double, double, __ddiv_rn(a, b), a / b)
SOFTGPU_PAIR(FloatMinimum, float, float, fminf(a, b) + 0.0f + fmaxf(b, c),
             std::fmin(a, b) + 0.0f + std::fmax(b, c))  // the sign of zero is open
SOFTGPU_PAIR(RoundingToIntegral, float, float, rintf(a) + floorf(b) - truncf(c),
             std::rint(a) + std::floor(b) - std::trunc(c))

/// static_cast is undefined outside the range; the device clamps, and turns NaN into 0.
s32 clamped(float value) {
  if (value != value) return 0;
  return value >= 0x1p31f    ? std::numeric_limits<s32>::max()
         : value <= -0x1p31f ? std::numeric_limits<s32>::min()
                             : static_cast<s32>(value);
}
SOFTGPU_PAIR(FloatToInteger, float, s32, __float2int_rz(a) ^ __float2int_rn(b), clamped(a) ^ clamped(std::nearbyint(b)))

u32 reversed(u32 x) {
  u32 result = 0;
  for (int i = 0; i < 32; ++i) result |= (x >> i & 1) << (31 - i);
  return result;
}
u32 permuted(u32 a, u32 b, u32 selector) {
  unsigned char bytes[8], out[4];
  std::memcpy(bytes, &a, 4), std::memcpy(bytes + 4, &b, 4);
  for (int i = 0; i < 4; ++i) out[i] = bytes[selector >> 4 * i & 7];
  u32 result;
  std::memcpy(&result, out, 4);
  return result;
}
u32 field(u32 x, u32 position, u32 length) {  // bfe.u32
  u32 result = 0;
  for (u32 i = 0; i < length && i < 32; ++i) result |= position + i < 32 ? (x >> (position + i) & 1) << i : 0;
  return result;
}
u32 with_field(u32 part, u32 whole, u32 position, u32 length) {  // bfi.b32
  for (u32 i = 0; i < length && position + i < 32 && i < 32; ++i) {
    whole = (whole & ~(1u << (position + i))) | (part >> i & 1) << (position + i);
  }
  return whole;
}
__device__ u32 device_bfe(u32 a, u32 b, u32 c) {
  u32 d;
  asm("bfe.u32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
__device__ u32 device_bfi(u32 a, u32 b, u32 c) {
  u32 d;
  asm("bfi.b32 %0, %1, %2, %3, 7;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
__device__ u32 device_lop3(u32 a, u32 b, u32 c) {
  u32 d;
  asm("lop3.b32 %0, %1, %2, %3, 0x96;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
/// 64-bit sums from 32-bit halves and a carry.
__device__ u64 device_carry(u64 a, u64 b) {
  u32 low, high;
  asm("add.cc.u32 %0, %2, %4; addc.u32 %1, %3, %5;"
      : "=r"(low), "=r"(high)
      : "r"(static_cast<u32>(a)), "r"(static_cast<u32>(a >> 32)), "r"(static_cast<u32>(b)),
        "r"(static_cast<u32>(b >> 32)));
  return static_cast<u64>(high) << 32 | low;
}
SOFTGPU_PAIR(BitCounts, u32, u32, __popc(a) + 100 * __clz(b) + 10000 * __ffs(c),
             __builtin_popcount(a) + 100 * (b ? __builtin_clz(b) : 32) + 10000 * __builtin_ffs(static_cast<int>(c)))
SOFTGPU_PAIR(BitCounts64, u64, u32, __popcll(a) + 100 * __clzll(b),
             __builtin_popcountll(a) + 100 * (b ? __builtin_clzll(b) : 64))
SOFTGPU_PAIR(BitReversal, u32, u32, __brev(a), reversed(a))
SOFTGPU_PAIR(BytePermutation, u32, u32, __byte_perm(a, b, c), permuted(a, b, c))
SOFTGPU_PAIR(FunnelShift, u32, u32, __funnelshift_l(a, b, c),
             static_cast<u32>((static_cast<u64>(b) << 32 | a) << (c & 31) >> 32))
SOFTGPU_PAIR(BitFields, u32, u32, device_bfe(a, b & 255, c & 255), field(a, b & 255, c & 255))
SOFTGPU_PAIR(BitFieldInsertion, u32, u32, device_bfi(a, b, c & 255), with_field(a, b, c & 255, 7))
SOFTGPU_PAIR(ThreeWayLogic, u32, u32, device_lop3(a, b, c), a ^ b ^ c)
SOFTGPU_PAIR(Carry, u64, u64, device_carry(a, b), a + b)
SOFTGPU_PAIR(HighProducts, u32, u32,
             __umulhi(a, b) + static_cast<u32>(__mulhi(static_cast<s32>(b), static_cast<s32>(c))),
             static_cast<u32>(static_cast<u64>(a) * b >> 32) +
                 static_cast<u32>(static_cast<s64>(static_cast<s32>(b)) * static_cast<s32>(c) >> 32))
SOFTGPU_PAIR(HighProducts64, u64, u64, __umul64hi(a, b), static_cast<u64>(static_cast<unsigned __int128>(a) * b >> 64))
#undef SOFTGPU_BOTH
#undef SOFTGPU_PAIR

// cuda_bf16.h and cuda_fp16.h compute on the host too, in plain C++.
struct ToBFloat16 {
  static __device__ __nv_bfloat16 device(float a, float, float) { return __float2bfloat16_rn(a); }
  static __nv_bfloat16 host(float a, float, float) { return __float2bfloat16_rn(a); }
};
struct ToHalf {
  static __device__ __half device(float a, float, float) { return __float2half_rn(a); }
  static __half host(float a, float, float) { return __float2half_rn(a); }
};
/// Ten bits behind the point, halves away from zero.
struct ToTF32 {
  static __device__ float device(float a, float, float) {
    u32 bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(a));
    return __uint_as_float(bits);
  }
  static float host(float a, float, float) {
    if (!std::isfinite(a) || a == 0) return a;
    const int last_place = std::max(std::ilogb(a), -126) - 10;
    return static_cast<float>(std::ldexp(std::round(std::ldexp(static_cast<double>(a), -last_place)), last_place));
  }
};
// The addend is an even number: then the sum is exact in a long double wherever it is near the middle of two results.
struct BFloat16Arithmetic {
  static __device__ float device(float a, float b, float c) {
    return __bfloat162float(__hfma(__float2bfloat16_rn(a), __float2bfloat16_rn(b), __float2bfloat16_rn(2 * truncf(c))));
  }
  static float host(float a, float b, float c) {
    const float x = __bfloat162float(__float2bfloat16_rn(a)), y = __bfloat162float(__float2bfloat16_rn(b));
    const float z = __bfloat162float(__float2bfloat16_rn(2 * std::trunc(c)));
    const long double exact = static_cast<long double>(x) * y + z;
    if (!std::isfinite(exact) || exact == 0) return static_cast<float>(exact);
    const int last_place = std::max(std::ilogb(exact), -126) - 7;
    return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(exact, -last_place)), last_place));
  }
};

}  // namespace

std::vector<InstructionCheck> instruction_checks() {
  return {{"arithmetic", compare<Arithmetic32, u32, u32>},
          {"division", compare<Division32, s32, s32>},
          {"unsigned division", compare<UnsignedDivision32, u32, u32>},
          {"arithmetic in 64 bits", compare<Arithmetic64, u64, u64>},
          {"division in 64 bits", compare<Division64, s64, s64>},
          {"unsigned division in 64 bits", compare<UnsignedDivision64, u64, u64>},
          {"high products", compare<HighProducts, u32, u32>},
          {"high products in 64 bits", compare<HighProducts64, u64, u64>},
          {"carry", compare<Carry, u64, u64>},
          {"shifts", compare<Shifts, u32, u32>},
          {"shifts in 64 bits", compare<Shifts64, u64, u64>},
          {"comparisons", compare<Comparisons, s32, s32>},
          {"narrow integers", compare<Narrow, s32, s32>},
          {"minimum and maximum", compare<MinimumMaximum, s32, s32>},
          {"bit counts", compare<BitCounts, u32, u32>},
          {"bit counts in 64 bits", compare<BitCounts64, u64, u32>},
          {"bit reversal", compare<BitReversal, u32, u32>},
          {"byte permutation", compare<BytePermutation, u32, u32>},
          {"funnel shift", compare<FunnelShift, u32, u32>},
          {"bit fields", compare<BitFields, u32, u32>},
          {"bit field insertion", compare<BitFieldInsertion, u32, u32>},
          {"three way logic", compare<ThreeWayLogic, u32, u32>},
          {"float arithmetic", compare<FloatArithmetic, float, float>},
          {"float division", compare<FloatDivision, float, float>},
          {"float roots", compare<FloatRoots, float, float>},
          {"float minimum", compare<FloatMinimum, float, float>},
          {"float comparisons", compare<FloatComparisons, float, s32>},
          {"fused multiply add", compare<FusedMultiplyAdd, float, float>},
          {"directed rounding", compare<DirectedRounding, float, float>},
          {"rounding to integral", compare<RoundingToIntegral, float, float>},
          {"double fused multiply add", compare<DoubleFusedMultiplyAdd, double, double>},
          {"double division", compare<DoubleDivision, double, double>},
          {"double comparisons", compare<DoubleComparisons, double, s32>},
          {"from integers", compare<FromIntegers, s32, float>},
          {"from long integers", compare<FromLongIntegers, s64, double>},
          {"float to integer", compare<FloatToInteger, float, s32>},
          {"float to double", compare<FloatToDouble, float, double>},
          {"double to float", compare<DoubleToFloat, double, float>},
          {"to bfloat16", compare<ToBFloat16, float, __nv_bfloat16>},
          {"to TF32", compare<ToTF32, float, float>},
          {"to half", compare<ToHalf, float, __half>},
          {"bfloat16 arithmetic", compare<BFloat16Arithmetic, float, float>}};
}

}  // namespace softgpu_test
