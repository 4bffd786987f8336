#include "search/training/network_tensors.h"

#include <cmath>

#include "layers/cost.h"
#include "tensor/backend.h"

namespace stagewise {

namespace {

template <class T>
void require_finite_as(const SafetensorsEntry& entry, const std::string& name, const std::string& where) {
  const auto* const values = reinterpret_cast<const T*>(entry.bytes.data());
  for (std::int64_t i = 0; i < entry.shape.count(); ++i) {
    const auto value = static_cast<double>(values[i]);
    require(std::isfinite(value), where, ": element ", i, " of `", name, "` is ", value,
            ", not a finite number: these weights can't be used");
  }
}

}  // namespace

void require_finite(const SafetensorsEntry& entry, const std::string& name, const std::string& where) {
  switch (entry.dtype) {
    case DType::uint8:
    case DType::int32: return;
    case DType::bfloat16: return require_finite_as<BFloat16>(entry, name, where);
    case DType::float32: return require_finite_as<float>(entry, name, where);
    case DType::float64: return require_finite_as<double>(entry, name, where);
  }
}

void require_finite(const Network& network, const std::string& where) {
  for (const auto& [name, tensor] : network.tensors()) require_finite(to_entry(tensor), name, where);
}

void require_size(const Safetensors& file, const std::string& path, const Architecture& architecture) {
  std::int64_t values = 0;
  for (const auto& [name, entry] : file.tensors) values += entry.shape.count();
  const std::int64_t needed = cost_of(architecture).total().parameters();
  require(needed / 2 <= values, "`", path, "` holds ", values, " numbers, a network of ", architecture.stages.size(),
          " stages as its metadata describes it needs ", needed);
}

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

void store_network(const Network& network, const std::string& prefix, Safetensors& file) {
  for (const auto& [name, tensor] : network.tensors()) file.tensors[prefix + name] = to_entry(tensor);
}

void load_network(const Safetensors& file, const std::string& prefix, const std::string& path, Network& network) {
  for (const auto& [name, tensor] : network.tensors()) {
    const auto found = file.tensors.find(prefix + name);
    require(found != file.tensors.end(), "`", path, "` lacks the tensor `", prefix, name, "` ", tensor.shape());
    const SafetensorsEntry& entry = found->second;
    require(entry.shape == tensor.shape() && entry.dtype == tensor.dtype(), "`", path, "`: expected `", prefix, name,
            "` to be ", name_of(tensor.dtype()), " ", tensor.shape(), ", it is ", name_of(entry.dtype), " ",
            entry.shape);
    require_finite(entry, prefix + name, "`" + path + "`");
    tensor.backend().copy_from_host(entry.bytes.data(), tensor);
  }
}

void store_state(const Optimiser& optimiser, Safetensors& file) {
  for (const auto& [name, tensor] : optimiser.state()) file.tensors[name] = to_entry(tensor);
}

namespace {

/// Calls take(NAME, tensor) for each START NAME of the file.
template <class Take>
void for_each_behind(const std::string& start, const Safetensors& file, Backend& backend, const Take& take) {
  for (auto at = file.tensors.lower_bound(start); at != file.tensors.end() && at->first.starts_with(start); ++at) {
    require_finite(at->second, at->first, "the checkpoint");
    take(at->first.substr(start.size()), to_tensor(backend, at->second));
  }
}

}  // namespace

void load_state(const Safetensors& file, Backend& backend, Optimiser& optimiser) {
  for (const std::string& kind : optimiser.state_kinds()) {
    for_each_behind(kind + ".", file, backend, [&](const std::string& name, const Tensor& tensor) {
      optimiser.set_state(kind + "." + name, tensor);
    });
  }
}

void store_averages(const WeightAverage& average, Safetensors& file) {
  for (const auto& [name, tensor] : average.averages()) file.tensors["average." + name] = to_entry(tensor);
}

void load_averages(const Safetensors& file, Backend& backend, WeightAverage& average) {
  for_each_behind("average.", file, backend,
                  [&](const std::string& name, const Tensor& tensor) { average.set_average(name, tensor); });
}

}  // namespace stagewise
