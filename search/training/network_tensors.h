// A network's tensors in and out of a safetensors file, by name.
#pragma once

#include <string>

#include "search/training/learner.h"
#include "tensor/safetensors.h"

namespace stagewise {

/// A copy of `tensor` in host memory.
SafetensorsEntry to_entry(const Tensor& tensor);
/// A tensor of its own on `backend`.
Tensor to_tensor(Backend& backend, const SafetensorsEntry& entry);

/// Errors: throws Error, naming the tensor as `name` in `where`, when an element of a floating-point entry is NaN or
/// infinite: training has diverged, or the file is damaged, and whatever is computed from it is nonsense.
void require_finite(const SafetensorsEntry& entry, const std::string& name, const std::string& where);
/// The same for every parameter and buffer of `network`, on copies in host memory; `where` is what holds them.
void require_finite(const ResNet& network, const std::string& where);

/// Adds every parameter and buffer of `network`, each name behind `prefix`.
void store_network(const ResNet& network, const std::string& prefix, Safetensors& file);
/// Overwrites every parameter and buffer of `network`. Errors: throws Error, naming the tensor and `path`, when one is
/// missing, has another shape or type, or holds what isn't a finite number.
void load_network(const Safetensors& file, const std::string& prefix, const std::string& path, const ResNet& network);

/// The same for the optimiser's velocities, each as PREFIXvelocity.NAME; those that are not in the file stay undefined.
/// Loading throws Error, naming the velocity, for one that holds what isn't a finite number.
void store_velocities(const Sgd& optimiser, const std::string& prefix, Safetensors& file);
void load_velocities(const Safetensors& file, const std::string& prefix, Backend& backend, Sgd& optimiser);

/// The same for the weights' averages, each as average.NAME.
void store_averages(const WeightAverage& average, Safetensors& file);
void load_averages(const Safetensors& file, Backend& backend, WeightAverage& average);

}  // namespace stagewise
