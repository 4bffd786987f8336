#include "search/network_tensors.h"

#include "tensor/backend.h"

namespace stagewise {

namespace {

/// Calls `visit` with every tensor that is saved, learning or not.
void for_each_tensor(const ResNet& network, const std::function<void(const std::string&, const Tensor&)>& visit) {
  network.visit(
      {.parameter = [&](const std::string& name, const Variable& parameter, bool) { visit(name, parameter.value()); },
       .buffer = visit});
}

}  // namespace

SafetensorsEntry to_entry(const Tensor& tensor) {
  SafetensorsEntry entry{.dtype = tensor.dtype(), .shape = tensor.shape(), .bytes = {}};
  entry.bytes.resize(tensor.bytes());
  tensor.backend().copy_to_host(tensor, entry.bytes.data());
  return entry;
}

Tensor to_tensor(Backend& backend, const SafetensorsEntry& entry) {
  const Tensor tensor(backend, entry.shape, entry.dtype);
  backend.copy_from_host(entry.bytes.data(), tensor);
  return tensor;
}

void store_network(const ResNet& network, const std::string& prefix, Safetensors& file) {
  for_each_tensor(
      network, [&](const std::string& name, const Tensor& tensor) { file.tensors[prefix + name] = to_entry(tensor); });
}

void load_network(const Safetensors& file, const std::string& prefix, const std::string& path, const ResNet& network) {
  for_each_tensor(network, [&](const std::string& name, const Tensor& tensor) {
    const auto found = file.tensors.find(prefix + name);
    require(found != file.tensors.end(), "`", path, "` lacks the tensor `", prefix, name, "` ", tensor.shape());
    const SafetensorsEntry& entry = found->second;
    require(entry.shape == tensor.shape() && entry.dtype == tensor.dtype(), "`", path, "`: expected `", prefix, name,
            "` to be ", name_of(tensor.dtype()), " ", tensor.shape(), ", it is ", name_of(entry.dtype), " ",
            entry.shape);
    tensor.backend().copy_from_host(entry.bytes.data(), tensor);
  });
}

void store_velocities(const Sgd& optimiser, const std::string& prefix, Safetensors& file) {
  for (const auto& [name, velocity] : optimiser.velocities()) {
    file.tensors[prefix + "velocity." + name] = to_entry(velocity);
  }
}

void load_velocities(const Safetensors& file, const std::string& prefix, Backend& backend, Sgd& optimiser) {
  const std::string start = prefix + "velocity.";
  for (auto at = file.tensors.lower_bound(start); at != file.tensors.end() && at->first.starts_with(start); ++at) {
    optimiser.set_velocity(at->first.substr(start.size()), to_tensor(backend, at->second));
  }
}

}  // namespace stagewise
