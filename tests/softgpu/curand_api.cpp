// The stand-in libcurand: the Philox generator on "device" memory, as work of a stream, and on the host. A generator's
// numbers are those of the subsequences 0 to 65535 in turn, four from each (tests/cuda_curand_test.cpp compares them
// with the real library's host generator).
#include <curand.h>

#include <cstdint>

#include "softgpu.h"
#include "tensor/random.h"

struct curandGenerator_st {
  bool on_host = false;
  cudaStream_t stream = nullptr;
  std::uint64_t seed = 0, position = 0;
};

namespace {

struct Draw {
  std::uint64_t seed, position;
  std::uint32_t* to;
  std::size_t count;

  void into(std::uint32_t* numbers) const {
    constexpr std::uint64_t kSubsequences = 65536;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t place = position + i, block = place / 4;
      const stagewise::Random subsequence(seed, block % kSubsequences);
      numbers[i] = subsequence.bits(4 * (block / kSubsequences) + place % 4);
    }
  }
};

void draw_on_device(void* argument) {
  const auto* const draw = static_cast<const Draw*>(argument);
  void* const numbers = softgpu_translate(draw->to, draw->count * sizeof(std::uint32_t), 1);
  if (numbers != nullptr) draw->into(static_cast<std::uint32_t*>(numbers));
}

void delete_draw(void* argument) { delete static_cast<Draw*>(argument); }

curandStatus_t create(curandGenerator_t* generator, curandRngType_t type, bool on_host) {
  if (type != CURAND_RNG_PSEUDO_PHILOX4_32_10) return CURAND_STATUS_TYPE_ERROR;
  *generator = new curandGenerator_st{on_host};
  return CURAND_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

curandStatus_t curandCreateGenerator(curandGenerator_t* generator, curandRngType_t type) {
  return create(generator, type, false);
}

curandStatus_t curandCreateGeneratorHost(curandGenerator_t* generator, curandRngType_t type) {
  return create(generator, type, true);
}

curandStatus_t curandDestroyGenerator(curandGenerator_t generator) {
  delete generator;
  return CURAND_STATUS_SUCCESS;
}

curandStatus_t curandSetStream(curandGenerator_t generator, cudaStream_t stream) {
  generator->stream = stream;
  return CURAND_STATUS_SUCCESS;
}

curandStatus_t curandSetPseudoRandomGeneratorSeed(curandGenerator_t generator, unsigned long long seed) {
  generator->seed = seed;
  return CURAND_STATUS_SUCCESS;
}

curandStatus_t curandSetGeneratorOffset(curandGenerator_t generator, unsigned long long offset) {
  generator->position = offset;
  return CURAND_STATUS_SUCCESS;
}

curandStatus_t curandSetGeneratorOrdering(curandGenerator_t, curandOrdering_t order) {
  const bool known = order == CURAND_ORDERING_PSEUDO_LEGACY || order == CURAND_ORDERING_PSEUDO_DEFAULT ||
                     order == CURAND_ORDERING_PSEUDO_BEST;
  return known ? CURAND_STATUS_SUCCESS : CURAND_STATUS_OUT_OF_RANGE;
}

curandStatus_t curandGenerate(curandGenerator_t generator, unsigned* numbers, std::size_t count) {
  const Draw draw{generator->seed, generator->position, numbers, count};
  generator->position += count;
  if (generator->on_host) {
    draw.into(numbers);
  } else {
    softgpu_enqueue(generator->stream, "curandGenerate", draw_on_device, new Draw(draw), delete_draw);
  }
  return CURAND_STATUS_SUCCESS;
}

}  // extern "C"
