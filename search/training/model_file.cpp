#include "search/training/model_file.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "search/training/network_tensors.h"

namespace stagewise {

namespace {

/// The file that a person means by `path`.
std::string model_path(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  const std::string inside = path + "/model.safetensors";
  require(fs::exists(inside, error), "`", path, "` holds no model.safetensors",
          fs::exists(path + "/checkpoint.safetensors", error)
              ? concat(": the run isn't finished; go on with --resume ", path)
              : std::string());
  return inside;
}

Safetensors as_ours(Safetensors file, const std::string& path) {
  make_ours(file, path);
  return file;
}

Safetensors read_as_ours(const std::string& path) { return as_ours(read_safetensors(path), path); }

Architecture stored_architecture(const Safetensors& file, const std::string& path, std::optional<Variant> asked,
                                 const Remark& remark) {
  const Variant seen = file.tensors.contains("stem.conv.bias") ? Variant::paper : Variant::standard;
  require(!asked || *asked == seen, "`", path, "` holds a network of the variant ", name_of(seen), ", not ",
          name_of(asked.value_or(seen)));
  if (const auto found = file.metadata.find("architecture"); found != file.metadata.end()) {
    try {
      return Architecture::from_json(found->second);
    } catch (const Error& error) {
      fail("`", path, "`: ", error.what());
    }
  }
  const auto blocks = file.metadata.find("blocks");
  if (blocks == file.metadata.end()) return architecture_from_tensors(file, path, remark);
  return Architecture::of_depths(parse_depths(blocks->second, "blocks in `" + path + "`"), seen);
}

std::vector<float> floats_of(const Safetensors& file, const std::string& name, const Shape& shape,
                             const std::string& path) {
  const auto found = file.tensors.find(name);
  require(found != file.tensors.end(), "`", path, "` lacks the tensor `", name, "` ", shape);
  const SafetensorsEntry& entry = found->second;
  require(entry.dtype == DType::float32 && entry.shape == shape, "`", path, "`: expected `", name, "` to be float32 ",
          shape, ", it is ", name_of(entry.dtype), " ", entry.shape);
  require_finite(entry, name, "`" + path + "`");
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  std::copy(entry.bytes.begin(), entry.bytes.end(), reinterpret_cast<unsigned char*>(values.data()));
  return values;
}

SafetensorsEntry entry_of(const std::vector<float>& values, const Shape& shape) {
  SafetensorsEntry entry{.dtype = DType::float32, .shape = shape, .bytes = {}};
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  entry.bytes.assign(bytes, bytes + values.size() * sizeof(float));
  return entry;
}

std::optional<Normalisation> normalisation_in(const Safetensors& file, const std::string& path,
                                              const Architecture& architecture) {
  if (!file.tensors.contains(kScaleTensor) && !file.tensors.contains(kOffsetTensor)) return {};
  const Shape image{architecture.height, architecture.width, architecture.channels};
  return Normalisation{.scale = floats_of(file, kScaleTensor, {architecture.channels}, path),
                       .offset = floats_of(file, kOffsetTensor, image, path)};
}

std::vector<std::string> classes_in(const Safetensors& file, const std::string& path, std::int64_t expected) {
  const auto found = file.metadata.find("classes");
  if (found == file.metadata.end()) return {};
  std::vector<std::string> classes;
  try {
    nlohmann::json::parse(found->second).get_to(classes);
  } catch (const nlohmann::json::exception&) {
    fail("`", path, "`: expected the metadata's `classes` to be a JSON list of names");
  }
  require(static_cast<std::int64_t>(classes.size()) == expected, "`", path, "` names ", classes.size(),
          " classes, its network has ", expected);
  return classes;
}

void refuse_extra_tensors(const Safetensors& file, const std::string& path, const Network& network) {
  const std::map<std::string, Tensor> known = network.tensors();
  for (const auto& [name, entry] : file.tensors) {
    require(name == kScaleTensor || name == kOffsetTensor || known.contains(name), "`", path, "` holds the tensor `",
            name, "` ", entry.shape, ", which its network doesn't have");
  }
}

Model model_in(const Safetensors& file, Backend& backend, const std::string& path, std::optional<Variant> variant,
               const Remark& remark) {
  const Architecture architecture = stored_architecture(file, path, variant, remark);
  require_size(file, path, architecture);
  Model model;
  model.network = std::make_unique<Network>(backend, architecture, 0);
  load_network(file, "", path, *model.network);
  refuse_extra_tensors(file, path, *model.network);
  model.normalisation = normalisation_in(file, path, architecture);
  model.classes = classes_in(file, path, architecture.classes);
  if (const auto data = file.metadata.find("data"); data != file.metadata.end()) model.data = data->second;
  return model;
}

}  // namespace

Safetensors model_tensors(const Network& network, const Normalisation& normalisation,
                          const std::vector<std::string>& classes, const std::string& data) {
  const Architecture& architecture = network.architecture();
  Safetensors file;
  store_network(network, "", file);
  file.tensors[kScaleTensor] = entry_of(normalisation.scale, {architecture.channels});
  file.tensors[kOffsetTensor] =
      entry_of(normalisation.offset, {architecture.height, architecture.width, architecture.channels});
  file.metadata["architecture"] = architecture.to_json();
  file.metadata["classes"] = nlohmann::json(classes).dump();
  if (!data.empty()) file.metadata["data"] = data;
  return file;
}

void save_model(const std::string& path, const Network& network, const Normalisation& normalisation,
                const std::vector<std::string>& classes, const std::string& data) {
  write_safetensors(path, model_tensors(network, normalisation, classes, data));
}

Model load_model(Backend& backend, const std::string& path, std::optional<Variant> variant, const Remark& remark) {
  const std::string file_path = model_path(path);
  return model_in(read_as_ours(file_path), backend, file_path, variant, remark);
}

Model parse_model(Backend& backend, std::string_view contents, const std::string& path, std::optional<Variant> variant,
                  const Remark& remark) {
  return model_in(as_ours(parse_safetensors(contents, path), path), backend, path, variant, remark);
}

Architecture load_architecture(const std::string& path, std::optional<Variant> variant, const Remark& remark) {
  const std::string file_path = model_path(path);
  return stored_architecture(read_as_ours(file_path), file_path, variant, remark);
}

}  // namespace stagewise
