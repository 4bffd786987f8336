// What the families share beside the decoder: instructions whose first word doesn't say whose they are.
#pragma once

#include "decoder.h"

namespace softgpu {

/// add, sub, mul, fma, div, min, max, neg, abs of f32 and f64, and of f16, bf16 and their pairs.
void decode_float(Decoder& decoder);
void decode_half(Decoder& decoder);

/// bfloat16 and half bits from a float, rounded to nearest even or toward zero, and back.
std::uint16_t bfloat16_bits(float value, bool toward_zero = false);
float from_bfloat16(std::uint16_t bits);
std::uint16_t half_bits(float value, bool toward_zero = false);
float from_half(std::uint16_t bits);

}  // namespace softgpu
