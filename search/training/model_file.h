// model.safetensors: one file that holds all that is needed to use a network. Tensors by their stable names, the
// normalisation of its images as `normalisation.scale` [C] and `normalisation.offset` [H,W,C]; in the metadata
// `architecture` (JSON) and `classes` (a JSON list of names). docs/model-file.md has all of it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/loader.h"
#include "layers/network.h"
#include "search/training/foreign_model.h"

namespace stagewise {

struct Model {
  std::unique_ptr<Network> network;
  std::optional<Normalisation> normalisation;  // the paper's released files have none
  std::vector<std::string> classes;            // empty where the file names none
  std::string data;                            // what it was trained on, as --data takes it; empty where unknown
};

/// What the file holds.
Safetensors model_tensors(const Network& network, const Normalisation& normalisation,
                          const std::vector<std::string>& classes, const std::string& data = "");
/// Writes the file, whole or not at all.
void save_model(const std::string& path, const Network& network, const Normalisation& normalisation,
                const std::vector<std::string>& classes, const std::string& data = "");

/// Reads a .safetensors file, or model.safetensors in a run's folder. The paper's released files have no `architecture`
/// but `blocks` ("6,8,6") in their metadata. What other programs wrote is read as well as it can be
/// (search/training/foreign_model.h), and `remark` told what had to be guessed. Errors: throws Error, naming the file
/// and the tensor, when the file can't be read, a tensor is missing, too many, of another shape or holds NaN or
/// infinity, or the network isn't of the `variant` asked for.
Model load_model(Backend& backend, const std::string& path, std::optional<Variant> variant = {},
                 const Remark& remark = {});
/// The same of a file's contents; `path` is what errors call it, and beside which an architecture.json may lie.
Model parse_model(Backend& backend, std::string_view contents, const std::string& path,
                  std::optional<Variant> variant = {}, const Remark& remark = {});

/// The architecture alone, of the same files.
Architecture load_architecture(const std::string& path, std::optional<Variant> variant = {}, const Remark& remark = {});

}  // namespace stagewise
