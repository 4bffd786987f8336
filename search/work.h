// Work is counted in multiply-accumulates of forward passes: of an image that is trained on all that the network spends
// on it, of one that is only looked at a third (a training step is three forward passes: forward, by data, by weights).
// So budgets are whole numbers, and a run repeats to the bit whatever the machine's speed.
#pragma once

#include <cstdint>
#include <string>

#include "layers/architecture.h"

namespace stagewise {

/// Of training on `images`, with `macs` multiply-accumulates an image. A frozen trunk only looks at them; rounded up then,
/// so that a pass's steps are not less than the pass.
std::int64_t training_work(std::int64_t macs, std::int64_t images, bool frozen = false);
std::int64_t training_work(const Architecture& architecture, std::int64_t images, bool frozen = false);
std::int64_t evaluation_work(const Architecture& architecture, std::int64_t images);

/// `3.07e13 MACs`.
std::string work_text(double work);

}  // namespace stagewise
