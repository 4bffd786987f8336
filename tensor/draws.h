// What `draw_numbers` and `draw_augmentation` of tensor/backend.h draw, on the host: for backends in its memory, and
// for those that draw there and copy.
#pragma once

#include <cstdint>

#include "tensor/backend.h"

namespace stagewise {

/// Writes call.out.count() numbers to `out`, of call.out's type.
void draw_on_host(const DrawNumbers& call, float* out);
void draw_on_host(const DrawNumbers& call, double* out);

/// Writes call.draws' elements to `draws`; `indices` are call.indices' own.
void draw_on_host(const DrawAugmentation& call, const std::int32_t* indices, std::int32_t* draws);

}  // namespace stagewise
