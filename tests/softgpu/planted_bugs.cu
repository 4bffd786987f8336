#include <cuda_runtime.h>

#include <algorithm>
#include <numeric>

#include "device_array.h"
#include "planted_bugs.h"
#include "softgpu.h"

namespace softgpu_test {
namespace {

constexpr int threads = 128;

std::vector<float> counting(int count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

// Reads one element past the end of what was allocated.
template <bool corrected>
__global__ void sum_with_next_kernel(const float* x, float* y, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const bool last = corrected && i == count - 1;
  y[i] = x[i] + (last ? 0.0f : x[i + 1]);  // BUG: read past the end
}

bool read_past_the_end(bool corrected) {
  const std::vector<float> values = counting(100);
  DeviceArray<float> x(values), y(values);
  (corrected ? sum_with_next_kernel<true> : sum_with_next_kernel<false>)<<<1, threads>>>(x.get(), y.get(), 100);
  std::vector<float> expected = values;
  for (int i = 0; i + 1 < 100; ++i) expected[i] += values[i + 1];
  return y.read() == expected;
}

// Writes one element past one shared array, into the neighbour's place.
template <bool corrected>
__global__ void two_arrays_kernel(float* y) {
  __shared__ float first[threads], second[threads];
  const int i = threadIdx.x;
  second[i] = 1;
  first[corrected ? i : i + 1] = static_cast<float>(i);  // BUG: shared overflow
  __syncthreads();
  y[i] = first[i] + second[threads - 1 - i];
}

bool shared_overflow(bool corrected) {
  DeviceArray<float> y(counting(threads));
  (corrected ? two_arrays_kernel<true> : two_arrays_kernel<false>)<<<1, threads>>>(y.get());
  return y.read() == counting(threads);
}

// Reads what another thread stores, without a barrier between.
template <bool corrected>
__global__ void reverse_kernel(const float* x, float* y) {
  __shared__ float tile[threads];
  tile[threadIdx.x] = 0;
  __syncthreads();
  tile[threadIdx.x] = x[threadIdx.x];  // BUG: missing barrier after store
  if (corrected) __syncthreads();
  y[threadIdx.x] = tile[threads - 1 - threadIdx.x];  // BUG: missing barrier after store
}

bool missing_barrier_after_store(bool corrected) {
  const std::vector<float> values = counting(threads);
  DeviceArray<float> x(values), y(values);
  (corrected ? reverse_kernel<true> : reverse_kernel<false>)<<<1, threads>>>(x.get(), y.get());
  return y.read() == std::vector<float>(values.rbegin(), values.rend());
}

// A tree of sums whose levels aren't kept apart.
template <bool corrected>
__global__ void tree_kernel(const float* x, float* y) {
  __shared__ float sums[threads];
  sums[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
#pragma unroll 1
  for (int step = threads / 2; step > 0; step /= 2) {
    if (threadIdx.x < step) sums[threadIdx.x] += sums[threadIdx.x + step];  // BUG: missing barrier in reduction
    if (corrected) __syncthreads();
  }
  if (threadIdx.x == 0) *y = sums[0];
}

bool missing_barrier_in_reduction(bool corrected) {
  DeviceArray<float> x(counting(threads)), y(counting(1));
  (corrected ? tree_kernel<true> : tree_kernel<false>)<<<1, threads>>>(x.get(), y.get());
  return y.read()[0] == threads * (threads + 1) / 2.0f;
}

// Blocks add to one number, and nothing makes the addition one step.
template <bool corrected>
__global__ void count_blocks_kernel(float* total) {
  if (threadIdx.x != 0) return;
  if (corrected) {
    atomicAdd(total, 1.0f);
  } else {
    *total += 1.0f;  // BUG: sum across blocks
  }
}

bool sum_across_blocks(bool corrected) {
  DeviceArray<float> total(std::vector<float>{0});
  (corrected ? count_blocks_kernel<true> : count_blocks_kernel<false>)<<<8, threads>>>(total.get());
  return total.read()[0] == 8;
}

// Half of the block waits where the other half never comes.
template <bool corrected>
__global__ void half_barrier_kernel(float* y) {
  __shared__ float tile[threads];
  tile[threadIdx.x] = static_cast<float>(threadIdx.x + 1);
  if (corrected) __syncthreads();
  if (threadIdx.x < threads / 2) {
    if (!corrected) __syncthreads();  // BUG: divergent barrier
    y[threadIdx.x] = tile[threadIdx.x + threads / 2];
  }
}

bool divergent_barrier(bool corrected) {
  DeviceArray<float> y(counting(threads / 2));
  (corrected ? half_barrier_kernel<true> : half_barrier_kernel<false>)<<<1, threads>>>(y.get());
  const std::vector<float> all = counting(threads);
  return y.read() == std::vector<float>(all.begin() + threads / 2, all.end());
}

// A tile that is read transposed before all of it is there.
constexpr int side = 16;
template <bool corrected>
__global__ void transpose_kernel(const float* x, float* y) {
  __shared__ float tile[side][side + 1];
  tile[threadIdx.y][threadIdx.x] = 0;
  __syncthreads();
  tile[threadIdx.y][threadIdx.x] = x[threadIdx.y * side + threadIdx.x];  // BUG: missing barrier in transpose
  if (corrected) __syncthreads();
  y[threadIdx.y * side + threadIdx.x] = tile[threadIdx.x][threadIdx.y];  // BUG: missing barrier in transpose
}

bool missing_barrier_in_transpose(bool corrected) {
  const std::vector<float> values = counting(side * side);
  DeviceArray<float> x(values), y(values);
  (corrected ? transpose_kernel<true> : transpose_kernel<false>)<<<1, dim3(side, side)>>>(x.get(), y.get());
  const std::vector<float> result = y.read();
  bool right = true;
  for (int i = 0; i < side * side; ++i) right &= result[i] == values[i % side * side + i / side];
  return right;
}

// The next round overwrites what others still read: the barrier at the loop's end is missing.
template <bool corrected>
__global__ void rounds_kernel(const float* x, float* y, int rounds) {
  __shared__ float tile[threads];
  float sum = 0;
#pragma unroll 1
  for (int round = 0; round < rounds; ++round) {
    tile[threadIdx.x] = x[round * threads + threadIdx.x];  // BUG: missing barrier at the end
    __syncthreads();
    sum += tile[threads - 1 - threadIdx.x];  // BUG: missing barrier at the end
    if (corrected) __syncthreads();
  }
  y[threadIdx.x] = sum;
}

bool missing_barrier_at_the_end(bool corrected) {
  DeviceArray<float> x(counting(3 * threads)), y(counting(threads));
  (corrected ? rounds_kernel<true> : rounds_kernel<false>)<<<1, threads>>>(x.get(), y.get(), 3);
  const std::vector<float> result = y.read();
  bool right = true;
  for (int i = 0; i < threads; ++i) right &= result[i] == 3.0f * (threads - i) + 3.0f * threads;
  return right;
}

// One lane reads what its neighbour in the warp wrote; warps don't run in step.
template <bool corrected>
__global__ void neighbour_kernel(float* y) {
  __shared__ float tile[32];
  tile[threadIdx.x] = 0;
  __syncwarp();
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);  // BUG: missing warp barrier
  if (corrected) __syncwarp();
  y[threadIdx.x] = tile[threadIdx.x ^ 1];  // BUG: missing warp barrier
}

bool missing_warp_barrier(bool corrected) {
  DeviceArray<float> y(counting(32));
  (corrected ? neighbour_kernel<true> : neighbour_kernel<false>)<<<1, 32>>>(y.get());
  const std::vector<float> result = y.read();
  bool right = true;
  for (int i = 0; i < 32; ++i) right &= result[i] == static_cast<float>(i ^ 1);
  return right;
}

// Half of the warp has returned when the others read its registers.
template <bool corrected>
__global__ void early_return_kernel(float* y) {
  float value = static_cast<float>(threadIdx.x);
  if (!corrected && threadIdx.x >= 16) return;
  value += __shfl_down_sync(0xffffffffu, value, 16);  // BUG: shuffle from an exited lane
  if (threadIdx.x < 16) y[threadIdx.x] = value;
}

bool shuffle_from_exited_lane(bool corrected) {
  DeviceArray<float> y(counting(16));
  (corrected ? early_return_kernel<true> : early_return_kernel<false>)<<<1, 32>>>(y.get());
  const std::vector<float> result = y.read();
  bool right = true;
  for (int i = 0; i < 16; ++i) right &= result[i] == 2.0f * i + 16;
  return right;
}

// Only half of a shared array is filled.
template <bool corrected>
__global__ void half_filled_kernel(float* y) {
  __shared__ float tile[threads];
  if (corrected || threadIdx.x < threads / 2) tile[threadIdx.x] = 2;
  __syncthreads();
  y[threadIdx.x] = tile[threads - 1 - threadIdx.x];  // BUG: uninitialised shared memory
}

bool uninitialised_shared(bool corrected) {
  DeviceArray<float> y(counting(threads));
  (corrected ? half_filled_kernel<true> : half_filled_kernel<false>)<<<1, threads>>>(y.get());
  return y.read() == std::vector<float>(threads, 2);
}

// Four floats at once from an address that isn't a multiple of 16.
__global__ void vector_kernel(const float* x, float* y) {
  const float4 value = *reinterpret_cast<const float4*>(x);  // BUG: misaligned vector
  *y = value.x + value.y + value.z + value.w;
}

bool misaligned_vector(bool corrected) {
  DeviceArray<float> x(counting(8)), y(counting(1));
  vector_kernel<<<1, 1>>>(x.get() + (corrected ? 4 : 1), y.get());
  return y.read()[0] == 26;
}

__global__ void increment_kernel(float* x) {
  x[threadIdx.x] += 1;  // BUG: use after free
}

bool use_after_free(bool corrected) {
  float *freed = nullptr, *kept = nullptr;
  cudaStream_t stream;
  cudaStreamCreate(&stream);
  cudaMalloc(&kept, threads * sizeof(float));
  cudaMallocAsync(reinterpret_cast<void**>(&freed), threads * sizeof(float), stream);
  cudaMemsetAsync(freed, 0, threads * sizeof(float), stream);
  cudaMemset(kept, 0, threads * sizeof(float));
  cudaFreeAsync(freed, stream);
  increment_kernel<<<1, threads, 0, stream>>>(corrected ? kept : freed);
  cudaStreamSynchronize(stream);
  cudaFree(kept);
  cudaStreamDestroy(stream);
  return true;
}

__global__ void fill_kernel(float* x, float value) {
  x[threadIdx.x] = value;  // BUG: missing event wait
}
__global__ void copy_kernel(const float* x, float* y) {
  y[threadIdx.x] = x[threadIdx.x];  // BUG: missing event wait
}

// One stream makes what another reads, and the second doesn't wait for the event.
bool missing_event_wait(bool corrected) {
  DeviceArray<float> x(counting(threads)), y(counting(threads));
  cudaStream_t producer, consumer;
  cudaEvent_t made;
  cudaStreamCreateWithFlags(&producer, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&consumer, cudaStreamNonBlocking);
  cudaEventCreateWithFlags(&made, cudaEventDisableTiming);
  cudaDeviceSynchronize();
  fill_kernel<<<1, threads, 0, producer>>>(x.get(), 7);
  cudaEventRecord(made, producer);
  if (corrected) cudaStreamWaitEvent(consumer, made);
  copy_kernel<<<1, threads, 0, consumer>>>(x.get(), y.get());
  cudaStreamSynchronize(consumer);
  const std::vector<float> result = y.read();
  cudaDeviceSynchronize();
  cudaEventDestroy(made);
  cudaStreamDestroy(producer);
  cudaStreamDestroy(consumer);
  return result == std::vector<float>(threads, 7);
}

// Blocks add to a sum that nobody has set to zero.
__global__ void add_kernel(int* total) {
  atomicAdd(total, 1);  // BUG: sum of what nobody wrote
}

bool sum_of_what_nobody_wrote(bool corrected) {
  int *total = nullptr, result = 0;
  cudaMalloc(&total, sizeof(int));
  if (corrected) cudaMemset(total, 0, sizeof(int));
  add_kernel<<<4, threads>>>(total);
  cudaMemcpy(&result, total, sizeof(int), cudaMemcpyDeviceToHost);
  cudaFree(total);
  return result == 4 * threads;
}

// What a copy in the background brings is read by a thread that hasn't waited for it.
template <bool corrected>
__global__ void unwaited_kernel(const float* x, float* y) {
  __shared__ float tile[threads];
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(tile + threadIdx.x));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(x + threadIdx.x));
  asm volatile("cp.async.commit_group;");
  if (corrected) asm volatile("cp.async.wait_group 0;" ::: "memory");
  __syncthreads();
  y[threadIdx.x] = tile[threads - 1 - threadIdx.x];  // BUG: missing wait for a copy
}

bool missing_wait_for_a_copy(bool corrected) {
  const std::vector<float> values = counting(threads);
  DeviceArray<float> x(values), y(values);
  (corrected ? unwaited_kernel<true> : unwaited_kernel<false>)<<<1, threads>>>(x.get(), y.get());
  return y.read() == std::vector<float>(values.rbegin(), values.rend());
}

// Each thread has waited for its own copies, but reads another's.
template <bool corrected>
__global__ void unshared_kernel(const float* x, float* y) {
  __shared__ float tile[threads];
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(tile + threadIdx.x));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(x + threadIdx.x));
  if (!corrected) __syncthreads();                  // too early
  asm volatile("cp.async.wait_all;" ::: "memory");  // BUG: missing barrier after a copy
  if (corrected) __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x ^ 32];  // BUG: missing barrier after a copy
}

bool missing_barrier_after_a_copy(bool corrected) {
  const std::vector<float> values = counting(threads);
  DeviceArray<float> x(values), y(values);
  (corrected ? unshared_kernel<true> : unshared_kernel<false>)<<<1, threads>>>(x.get(), y.get());
  const std::vector<float> result = y.read();
  bool right = true;
  for (int i = 0; i < threads; ++i) right &= result[i] == values[i ^ 32];
  return right;
}

// A tensor core gets floats with more bits than it can multiply.
template <bool corrected>
__global__ void unrounded_kernel(float* y) {
  unsigned value = __float_as_uint(0.1f);
  if (corrected) asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(value) : "f"(0.1f));
  float sums[4] = {};
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %4, %4, %4}, {%4, %4}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(value));  // BUG: float that is no TF32
  y[threadIdx.x] = sums[0];
}

bool float_that_is_no_tf32(bool corrected) {
  DeviceArray<float> y(counting(32));
  (corrected ? unrounded_kernel<true> : unrounded_kernel<false>)<<<1, 32>>>(y.get());
  return y.read() == std::vector<float>(32, 8 * 0.0999755859375f * 0.0999755859375f);
}

// A sum whose last bits depend on who comes first, in a program that promises the same bits. That no thread gets there
// this time is no excuse.
template <bool corrected>
__global__ void sum_kernel(const float* x, float* total, bool later) {
  if (corrected) {
    if (threadIdx.x != 0) return;
    float sum = 0;
    for (int i = 0; i < threads; ++i) sum += x[i];
    *total = sum;
  } else if (later) {
    atomicAdd(total, x[threadIdx.x]);  // BUG: floats added by atomics
  }
}

bool floats_added_by_atomics(bool corrected) {
  DeviceArray<float> x(counting(threads)), total(std::vector<float>{0});
  softgpu_promise_bits(1);
  (corrected ? sum_kernel<true> : sum_kernel<false>)<<<1, threads>>>(x.get(), total.get(), false);
  const float sum = total.read()[0];
  softgpu_promise_bits(0);
  return sum == threads * (threads + 1) / 2.0f;
}

}  // namespace

std::vector<PlantedBug> planted_bugs() {
  std::vector<PlantedBug> bugs = {
      {"read past the end", "reads 4 bytes out of bounds: ", read_past_the_end},
      {"shared overflow", "past the end of shared ", shared_overflow},
      {"missing barrier after store", "race: ", missing_barrier_after_store},
      {"missing barrier in reduction", "race: ", missing_barrier_in_reduction},
      {"sum across blocks", "nothing orders blocks", sum_across_blocks},
      {"divergent barrier", "divergent barrier: ", divergent_barrier},
      {"missing barrier in transpose", "race: ", missing_barrier_in_transpose},
      {"missing barrier at the end", "race: ", missing_barrier_at_the_end},
      {"missing warp barrier", "race: ", missing_warp_barrier},
      {"shuffle from an exited lane", "a shuffle reads from lane 16, which has exited", shuffle_from_exited_lane},
      {"uninitialised shared memory", "reads 4 bytes that nothing has written", uninitialised_shared},
      {"misaligned vector", "reads 16 bytes at 0x", misaligned_vector},
      {"use after free", "freed cudaMallocAsync of 512 bytes", use_after_free},
      {"missing event wait", "isn't ordered with this kernel by stream, event or host", missing_event_wait},
      {"sum of what nobody wrote", "atomically updates 4 bytes that nothing has written", sum_of_what_nobody_wrote},
      {"missing wait for a copy", "for which its thread hasn't waited", missing_wait_for_a_copy},
      {"missing barrier after a copy", "race: ", missing_barrier_after_a_copy},
      {"float that is no TF32", "which is no TF32", float_that_is_no_tf32},
      {"floats added by atomics", "adds floats by an atomic", floats_added_by_atomics, PlantedBug::Place::kernel}};
  const std::vector<PlantedBug> of_the_host = planted_host_bugs();
  bugs.insert(bugs.end(), of_the_host.begin(), of_the_host.end());
  return bugs;
}

}  // namespace softgpu_test
