#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <numeric>

#include "device_array.h"
#include "instructions.h"

namespace softgpu_test {
namespace {

using u32 = std::uint32_t;

// Which element of a fragment is which of the matrix, by the tables of PTX ISA: `i` is the element's number in the lane's
// registers, as the tables count them.
struct Place {
  int row, column;
};
__device__ Place place_of_a_bf16(int lane, int i) {  // m16n8k16
  const bool upper = (0 <= i && i < 2) || (4 <= i && i < 6);
  return {lane / 4 + (upper ? 0 : 8), lane % 4 * 2 + (i & 1) + (i < 4 ? 0 : 8)};
}
__device__ Place place_of_b_bf16(int lane, int i) { return {lane % 4 * 2 + (i & 1) + (i < 2 ? 0 : 8), lane / 4}; }
__device__ Place place_of_a_tf32(int lane, int i) {  // m16n8k8
  return {lane / 4 + (i == 0 || i == 2 ? 0 : 8), lane % 4 + (i < 2 ? 0 : 4)};
}
__device__ Place place_of_b_tf32(int lane, int i) { return {lane % 4 + (i == 0 ? 0 : 4), lane / 4}; }
__device__ Place place_of_c(int lane, int i) { return {lane / 4 + (i < 2 ? 0 : 8), lane % 4 * 2 + (i & 1)}; }

__device__ u32 pair(float low, float high) {
  return static_cast<u32>(__bfloat16_as_ushort(__float2bfloat16_rn(high))) << 16 |
         __bfloat16_as_ushort(__float2bfloat16_rn(low));
}

/// d = a * b + c for a [16][16], b [16][8], c and d [16][8].
__global__ void multiply_bf16_kernel(const float* a, const float* b, const float* c, float* d) {
  const int lane = threadIdx.x;
  const auto of = [&](const float* matrix, int width, Place at) { return matrix[at.row * width + at.column]; };
  u32 left[4], right[2];
  float sums[4], result[4];
  for (int i = 0; i < 4; ++i) {
    left[i] = pair(of(a, 16, place_of_a_bf16(lane, 2 * i)), of(a, 16, place_of_a_bf16(lane, 2 * i + 1)));
    sums[i] = of(c, 8, place_of_c(lane, i));
  }
  for (int i = 0; i < 2; ++i) {
    right[i] = pair(of(b, 8, place_of_b_bf16(lane, 2 * i)), of(b, 8, place_of_b_bf16(lane, 2 * i + 1)));
  }
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(result[0]), "=f"(result[1]), "=f"(result[2]), "=f"(result[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]), "f"(sums[0]),
        "f"(sums[1]), "f"(sums[2]), "f"(sums[3]));
  for (int i = 0; i < 4; ++i) d[place_of_c(lane, i).row * 8 + place_of_c(lane, i).column] = result[i];
}

/// The same for a [16][8], b [8][8].
__global__ void multiply_tf32_kernel(const float* a, const float* b, const float* c, float* d) {
  const int lane = threadIdx.x;
  u32 left[4], right[2];
  float sums[4], result[4];
  for (int i = 0; i < 4; ++i) {
    const Place at = place_of_a_tf32(lane, i), to = place_of_c(lane, i);
    left[i] = __float_as_uint(a[at.row * 8 + at.column]);
    sums[i] = c[to.row * 8 + to.column];
  }
  for (int i = 0; i < 2; ++i) {
    const Place at = place_of_b_tf32(lane, i);
    right[i] = __float_as_uint(b[at.row * 8 + at.column]);
  }
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(result[0]), "=f"(result[1]), "=f"(result[2]), "=f"(result[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]), "f"(sums[0]),
        "f"(sums[1]), "f"(sums[2]), "f"(sums[3]));
  for (int i = 0; i < 4; ++i) d[place_of_c(lane, i).row * 8 + place_of_c(lane, i).column] = result[i];
}

/// Matrices of small integers, whose products both types hold exactly.
template <class Kernel>
std::string products(Kernel kernel, int depth) {
  std::vector<float> a(16 * depth), b(depth * 8), c(16 * 8);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i * 37 % 101) - 50;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i * 29 % 53) - 26;
  for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<float>(i * 1009);
  const DeviceArray<float> on_a(a), on_b(b), on_c(c), on_d(c);
  kernel<<<1, 32>>>(on_a.get(), on_b.get(), on_c.get(), on_d.get());
  const std::vector<float> got = on_d.read();
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float expected = c[row * 8 + column];
      for (int i = 0; i < depth; ++i) expected += a[row * depth + i] * b[i * 8 + column];
      if (got[row * 8 + column] == expected) continue;
      return "row " + std::to_string(row) + ", column " + std::to_string(column) + ": got " +
             std::to_string(got[row * 8 + column]) + ", expected " + std::to_string(expected);
    }
  }
  return "";
}

std::string products_of_bfloat16() { return products(multiply_bf16_kernel, 16); }
std::string products_of_tf32() { return products(multiply_tf32_kernel, 8); }

/// Seven registers a lane: of one matrix, of two, and of four transposed. Element (row, column) of matrix m is
/// 64 m + 8 row + column.
__global__ void load_matrices_kernel(u32* results) {
  __shared__ alignas(16) unsigned short values[4][8][8];
  const int lane = threadIdx.x;
  for (int i = 0; i < 8; ++i) values[lane / 8][lane % 8][i] = static_cast<unsigned short>(8 * lane + i);
  __syncwarp();
  const auto row = static_cast<u32>(__cvta_generic_to_shared(values[lane / 8][lane % 8]));
  u32* const to = results + 7 * lane;
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(to[0]) : "r"(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(to[1]), "=r"(to[2]) : "r"(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[3]), "=r"(to[4]), "=r"(to[5]), "=r"(to[6])
               : "r"(row));
}

std::string matrices() {
  const DeviceArray<u32> results(std::vector<u32>(32 * 7));
  load_matrices_kernel<<<1, 32>>>(results.get());
  const std::vector<u32> got = results.read();
  for (u32 lane = 0; lane < 32; ++lane) {
    const u32 straight = 8 * (lane / 4) + 2 * (lane % 4), transposed = 16 * (lane % 4) + lane / 4;
    for (u32 i = 0; i < 7; ++i) {
      const u32 matrix = i < 1 ? 0 : i < 3 ? i - 1 : i - 3;
      const u32 first = 64 * matrix + (i < 3 ? straight : transposed), second = first + (i < 3 ? 1 : 8);
      if (got[7 * lane + i] == (second << 16 | first)) continue;
      return "lane " + std::to_string(lane) + ", result " + std::to_string(i) + ": " +
             std::to_string(got[7 * lane + i]);
    }
  }
  return "";
}

/// Three groups of copies through two places: 16 bytes, 16 bytes of which none is read, 8 bytes.
__global__ void copies_kernel(const float* x, float* y) {
  __shared__ alignas(16) float places[2][64][4];
  const int i = threadIdx.x;
  const auto at = [&](int place) { return static_cast<u32>(__cvta_generic_to_shared(places[place][i])); };
  const float* const from = x + 4 * i;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n\tcp.async.commit_group;" ::"r"(at(0)), "l"(from));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at(1)), "l"(from), "r"(i % 2 == 0 ? 16 : 0));
  asm volatile("cp.async.commit_group;\n\tcp.async.wait_group 1;" ::: "memory");
  __syncthreads();
  y[i] = places[0][63 - i][1];
  __syncthreads();
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(at(0)), "l"(from + 2));
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();
  y[64 + i] = places[1][63 - i][2];
  y[128 + i] = places[0][63 - i][1];
}

std::string copies() {
  std::vector<float> values(4 * 64);
  std::iota(values.begin(), values.end(), 1.0f);
  const DeviceArray<float> x(values), y(std::vector<float>(3 * 64));
  copies_kernel<<<1, 64>>>(x.get(), y.get());
  const std::vector<float> got = y.read();
  for (int i = 0; i < 64; ++i) {
    const int other = 63 - i;
    if (got[i] != values[4 * other + 1]) return "the first group brought " + std::to_string(got[i]);
    if (got[64 + i] != (other % 2 == 0 ? values[4 * other + 2] : 0)) return "the second " + std::to_string(got[64 + i]);
    if (got[128 + i] != values[4 * other + 3]) return "the third " + std::to_string(got[128 + i]);
  }
  return "";
}

}  // namespace

std::vector<InstructionCheck> matrix_checks() {
  return {{"products of bfloat16", products_of_bfloat16},
          {"products of TF32", products_of_tf32},
          {"matrices of pairs", matrices},
          {"asynchronous copies", copies}};
}

}  // namespace softgpu_test
