// What was trained so far, kept in part: shrink and perturb (Ash, Adams, "On Warm-Starting Neural Network Training",
// NeurIPS 2020). A network that goes on from trained weights ends worse than one from scratch; one whose weights are shrunk
// towards a fresh draw, less so.
#pragma once

#include <cstdint>

#include "layers/network.h"

namespace stagewise {

/// Every parameter w becomes keep * w + (1 - keep) * what it would be in a new network of this architecture, drawn
/// from `seed`: 1 keeps all, 0 is that new network to a rounding. Filters that a batch norm follows have no scale of
/// their own, so of them it is the direction that moves. Running statistics stay as they are, and fit no more.
/// Errors: throws Error for a share outside of 0 to 1.
void shrink_and_perturb(Network& network, double keep, std::uint64_t seed);

}  // namespace stagewise
