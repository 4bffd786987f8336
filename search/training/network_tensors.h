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

/// Adds every parameter and buffer of `network`, each name behind `prefix`.
void store_network(const ResNet& network, const std::string& prefix, Safetensors& file);
/// Overwrites every parameter and buffer of `network`. Errors: throws Error, naming the tensor and `path`, when one is
/// missing or has another shape or type.
void load_network(const Safetensors& file, const std::string& prefix, const std::string& path, const ResNet& network);

/// The same for the optimiser's velocities, each as PREFIXvelocity.NAME; those that are not in the file stay undefined.
void store_velocities(const Sgd& optimiser, const std::string& prefix, Safetensors& file);
void load_velocities(const Safetensors& file, const std::string& prefix, Backend& backend, Sgd& optimiser);

/// The same for the weights' averages, each as average.NAME.
void store_averages(const WeightAverage& average, Safetensors& file);
void load_averages(const Safetensors& file, Backend& backend, WeightAverage& average);

}  // namespace stagewise
