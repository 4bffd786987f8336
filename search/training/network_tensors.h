// A network's tensors in and out of a safetensors file, by name.
#pragma once

#include <string>

#include "search/training/learner.h"
#include "tensor/safetensors.h"

namespace stagewise {

/// By these a model file brings images to the scale that its network was trained on: pixel * scale - offset.
inline constexpr const char* kScaleTensor = "normalisation.scale";
inline constexpr const char* kOffsetTensor = "normalisation.offset";

/// A copy of `tensor` in host memory.
SafetensorsEntry to_entry(const Tensor& tensor);
/// A tensor of its own on `backend`.
Tensor to_tensor(Backend& backend, const SafetensorsEntry& entry);

/// Errors: throws Error, naming the tensor as `name` in `where`, when an element of a floating-point entry is NaN or
/// infinite: training has diverged, or the file is damaged, and whatever is computed from it is nonsense.
void require_finite(const SafetensorsEntry& entry, const std::string& name, const std::string& where);
/// The same for every parameter and buffer of `network`, on copies in host memory; `where` is what holds them.
void require_finite(const Network& network, const std::string& where);

/// A header can promise any network: one far larger than the file is not even begun. Errors: throws Error, naming `path`,
/// when `file` holds less than half of the numbers that a network of this architecture has; where a tensor or two are
/// missing it passes, and load_network() says which.
void require_size(const Safetensors& file, const std::string& path, const Architecture& architecture);

/// Adds every parameter and buffer of `network`, each name behind `prefix`.
void store_network(const Network& network, const std::string& prefix, Safetensors& file);
/// Overwrites every parameter and buffer of `network`. Errors: throws Error, naming the tensor and `path`, when one is
/// missing, has another shape or type, or holds what isn't a finite number.
void load_network(const Safetensors& file, const std::string& prefix, const std::string& path, Network& network);

/// The same for the optimiser's state, each tensor as KIND.NAME, such as velocity.stem.conv.weight; what is not in the
/// file stays as it is. Loading throws Error, naming the tensor, for one that holds what isn't a finite number.
void store_state(const Optimiser& optimiser, Safetensors& file);
void load_state(const Safetensors& file, Backend& backend, Optimiser& optimiser);

/// The same for the weights' averages, each as average.NAME.
void store_averages(const WeightAverage& average, Safetensors& file);
void load_averages(const Safetensors& file, Backend& backend, WeightAverage& average);

}  // namespace stagewise
