// Loops over elements in order: memory-bound, deterministic.
#include "cpu/kernels/all_kernels.h"

STAGEWISE_KERNELS_BEGIN

void widen(const std::uint16_t* narrow, float* wide, std::int64_t count) {
  for_vectors(count,
              [=](std::int64_t at, auto lanes) { store_first(wide + at, load_first(narrow + at, lanes), lanes); });
}

void narrow(const float* wide, std::uint16_t* narrow, std::int64_t count) {
  for_vectors(count,
              [=](std::int64_t at, auto lanes) { store_first(narrow + at, load_first(wide + at, lanes), lanes); });
}

void add(const float* a, const float* b, float* out, std::int64_t count) {
  for_vectors(count, [=](std::int64_t at, auto lanes) {
    store_first(out + at, load_first(a + at, lanes) + load_first(b + at, lanes), lanes);
  });
}

void relu_forward(const float* x, float* y, std::int64_t count) {
  for_vectors(count, [=](std::int64_t at, auto lanes) { store_first(y + at, relu(load_first(x + at, lanes)), lanes); });
}

void relu_backward(const float* dy, const float* y, float* dx, std::int64_t count) {
  for_vectors(count, [=](std::int64_t at, auto lanes) {
    store_first(dx + at, where_positive(load_first(y + at, lanes), load_first(dy + at, lanes)), lanes);
  });
}

float dot(const float* a, const float* b, std::int64_t count) {
  Floats sum{};
  for_vectors(count,
              [&](std::int64_t at, auto lanes) { sum += load_first(a + at, lanes) * load_first(b + at, lanes); });
  return horizontal_sum(sum);
}

void axpy(float a, const float* x, float* y, std::int64_t count) {
  for_vectors(count, [=](std::int64_t at, auto lanes) {
    store_first(y + at, load_first(y + at, lanes) + broadcast(a) * load_first(x + at, lanes), lanes);
  });
}

void axpy_double(double a, const double* x, double* y, std::int64_t count) {
  typedef double Doubles __attribute__((vector_size(kLanes * sizeof(float)), aligned(8), may_alias));
  constexpr std::int64_t kStep = kLanes / 2;
  std::int64_t at = 0;
  for (; at + kStep <= count; at += kStep) {
    *reinterpret_cast<Doubles*>(y + at) += a * *reinterpret_cast<const Doubles*>(x + at);
  }
  for (; at < count; ++at) y[at] += a * x[at];
}

void scale(float a, float* x, std::int64_t count) {
  for_vectors(count, [=](std::int64_t at, auto lanes) {
    store_first(x + at, broadcast(a) * load_first(x + at, lanes), lanes);
  });
}

void sgd(float* value, const float* gradient, float* velocity, std::int64_t count, float learning_rate, float momentum,
         float weight_decay, bool nesterov) {
  for_vectors(count, [=](std::int64_t at, auto lanes) {
    const Floats weight = load_first(value + at, lanes);
    const Floats slope = load_first(gradient + at, lanes) + broadcast(weight_decay) * weight;
    const Floats speed = broadcast(momentum) * load_first(velocity + at, lanes) + slope;
    const Floats step = nesterov ? slope + broadcast(momentum) * speed : speed;
    store_first(velocity + at, speed, lanes);
    store_first(value + at, weight - broadcast(learning_rate) * step, lanes);
  });
}

void bytes_to_floats(const std::uint8_t* bytes, const float* scale, const float* offset, float* y, std::int64_t count) {
  typedef std::uint8_t Bytes __attribute__((vector_size(kLanes), aligned(1), may_alias));
  std::int64_t at = 0;
  for (; at + kLanes <= count; at += kLanes) {
    const Floats value = __builtin_convertvector(*reinterpret_cast<const Bytes*>(bytes + at), Floats);
    store(y + at, value * load(scale + at) - load(offset + at));
  }
  for (; at < count; ++at) y[at] = static_cast<float>(bytes[at]) * scale[at] - offset[at];
}

STAGEWISE_KERNELS_END
