// The kernels' declarations inside the namespace of the instruction set being compiled.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

STAGEWISE_KERNELS_BEGIN

void stage_rows(const StageRows& job);
void convolution_block(const ConvolutionBlock& job);
void weight_gradient_sweep(const WeightGradientSweep& job);

extern const WinogradKernels winograd_kernels[kWinogradForms];

void moment_sums(Elements x, std::int64_t pixels, std::int64_t channels, const float* pivot, double* sum,
                 double* square_sum);
void batch_norm_forward(Elements x, const ChannelCoefficients& coefficients, Elements addend,
                        const ChannelCoefficients* addend_coefficients, bool relu, Elements y, std::int64_t pixels,
                        std::int64_t channels);
void batch_norm_reduce(const BatchNormReduceRows& job);
void batch_norm_backward(Elements dz, Elements x, const float* mean, const float* a, const float* b, const float* c,
                         Elements dx, std::int64_t pixels, std::int64_t channels);
void channel_sums(const float* x, std::int64_t pixels, std::int64_t channels, double* sums);

void max_pool_forward(const MaxPoolRow& job);
void max_pool_backward(const MaxPoolRow& job);

void widen(const std::uint16_t* narrow, float* wide, std::int64_t count);
void narrow(const float* wide, std::uint16_t* narrow, std::int64_t count);
void add(const float* a, const float* b, float* out, std::int64_t count);
void relu_forward(const float* x, float* y, std::int64_t count);
void relu_backward(const float* dy, const float* y, float* dx, std::int64_t count);
float dot(const float* a, const float* b, std::int64_t count);
void axpy(float a, const float* x, float* y, std::int64_t count);
void axpy_double(double a, const double* x, double* y, std::int64_t count);
void scale(float a, float* x, std::int64_t count);
void sgd(float* value, const float* gradient, float* velocity, std::int64_t count, float learning_rate, float momentum,
         float weight_decay, bool nesterov);
void adamw(float* value, const float* gradient, float* first, float* second, std::int64_t count,
           const AdamWFactors& factors);
void average(float* average, const float* value, std::int64_t count, float rate);
void bytes_to_floats(const std::uint8_t* bytes, const float* scale, const float* offset, float* y, std::int64_t count);

/// Registers to spare decide the blocking: 32 vector registers with AVX-512 and NEON, 16 elsewhere.
constexpr bool kManyRegisters = STAGEWISE_REGISTERS == 32;
/// Pixels in a group, for blocks of one and two vectors of channels.
constexpr int kGroup1 = 4, kGroup2 = kManyRegisters ? 4 : 2;

STAGEWISE_KERNELS_END
