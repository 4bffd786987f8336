#include "layers/presets.h"

#include <algorithm>
#include <vector>

#include "tensor/error.h"

namespace stagewise {

namespace {

struct Preset {
  const char* name;
  std::vector<std::int64_t> depths;
  NetworkStyle style;
};

const std::vector<Preset>& presets() {
  // Pre-activation networks have the same 16 filters in the stem, whatever the first stage's width (arXiv 1605.07146).
  const auto wide = [](std::int64_t factor) {
    return NetworkStyle{
        .block = BlockKind::pre_activation, .widths = {16 * factor, 32 * factor, 64 * factor}, .stem_width = 16};
  };
  const auto large = [](BlockKind block) {
    return NetworkStyle{.block = block, .stem = StemKind::imagenet, .widths = {64, 128, 256, 512}};
  };
  static const std::vector<Preset> all = {
      {"resnet20", {3, 3, 3}, {}},
      {"resnet32", {5, 5, 5}, {}},
      {"resnet44", {7, 7, 7}, {}},
      {"resnet56", {9, 9, 9}, {}},
      {"resnet110", {18, 18, 18}, {}},
      {"preresnet110", {18, 18, 18}, {.block = BlockKind::pre_activation}},
      {"preresnet164", {18, 18, 18}, {.block = BlockKind::pre_activation_bottleneck}},
      {"wrn-16-4", {2, 2, 2}, wide(4)},
      {"wrn-28-10", {4, 4, 4}, wide(10)},
      {"resnet18", {2, 2, 2, 2}, large(BlockKind::basic)},
      {"resnet34", {3, 4, 6, 3}, large(BlockKind::basic)},
      {"resnet50", {3, 4, 6, 3}, large(BlockKind::bottleneck)},
      {"resnet101", {3, 4, 23, 3}, large(BlockKind::bottleneck)},
  };
  return all;
}

}  // namespace

Architecture preset(const std::string& name) {
  const auto found =
      std::find_if(presets().begin(), presets().end(), [&](const Preset& one) { return name == one.name; });
  require(found != presets().end(), "[network] expected one of ", preset_names(), "; got \"", name, "\"");
  Architecture architecture = Architecture::of_depths(found->depths, Variant::standard, found->style);
  if (found->style.stem == StemKind::imagenet) architecture.classes = 1000;
  return architecture;
}

std::string preset_names() {
  std::string names;
  for (const Preset& one : presets()) names += (names.empty() ? "" : ", ") + std::string(one.name);
  return names;
}

}  // namespace stagewise
