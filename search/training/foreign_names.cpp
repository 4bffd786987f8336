#include "search/training/foreign_names.h"

#include <regex>
#include <utility>

namespace stagewise {

namespace {

/// Our name of a tensor; its own where there is none.
std::string our_name(const std::string& theirs) {
  static const std::pair<std::regex, const char*> rules[] = {
      {std::regex(R"(conv1\.(\w+))"), "stem.conv.$1"},
      {std::regex(R"(bn1\.(\w+))"), "stem.batch_norm.$1"},
      {std::regex(R"((?:fc|linear)\.(\w+))"), "classifier.$1"},
      {std::regex(R"(layer(\d)\.(\d+)\.conv(\d\.\w+))"), "stages.$1.blocks.$2.conv$3"},
      {std::regex(R"(layer(\d)\.(\d+)\.bn(\d\.\w+))"), "stages.$1.blocks.$2.batch_norm$3"},
      {std::regex(R"(layer(\d)\.(\d+)\.(?:downsample|shortcut)\.0\.(\w+))"), "stages.$1.blocks.$2.projection.$3"},
      {std::regex(R"(layer(\d)\.(\d+)\.(?:downsample|shortcut)\.1\.(\w+))"),
       "stages.$1.blocks.$2.projection_batch_norm.$3"},
  };
  for (const auto& [theirs_as, ours_as] : rules) {
    if (!std::regex_match(theirs, theirs_as)) continue;
    std::string ours = std::regex_replace(theirs, theirs_as, ours_as);
    // Their stages are counted from 1.
    if (ours.starts_with("stages.")) ours[sizeof "stages." - 1] -= 1;
    return ours;
  }
  return theirs;
}

template <class Tensors>
void rename(Tensors& tensors) {
  Tensors renamed;
  for (auto& [name, tensor] : tensors) renamed.emplace(our_name(name), std::move(tensor));
  tensors = std::move(renamed);
}

}  // namespace

void rename_field_networks(Safetensors& file) {
  if (!file.tensors.contains("layer1.0.conv1.weight") || !file.tensors.contains("conv1.weight")) return;
  rename(file.tensors);
  rename(file.unread);
}

}  // namespace stagewise
