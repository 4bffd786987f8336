// What `draw_numbers` and `draw_augmentation` of tensor/backend.h draw, on the host: for backends in its memory, and
// for those that draw there and copy.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/backend.h"

namespace stagewise {

/// Writes call.out.count() numbers to `out`, of call.out's type.
void draw_on_host(const DrawNumbers& call, float* out);
void draw_on_host(const DrawNumbers& call, double* out);

/// Writes 6 numbers an index to `draws`; call.indices and call.draws are not looked at.
void draw_on_host(const DrawAugmentation& call, std::span<const std::int32_t> indices, std::int32_t* draws);

}  // namespace stagewise
