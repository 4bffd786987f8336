#include "search/training/foreign_model.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <map>
#include <regex>
#include <span>

#include "layers/graph.h"
#include "search/training/foreign_names.h"
#include "search/training/network_tensors.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

/// The same values, axis i of the result being axis `axes[i]` of `entry`, which is float32.
SafetensorsEntry permuted(const SafetensorsEntry& entry, std::span<const int> axes) {
  std::array<std::int64_t, Shape::kMaxRank> strides{}, sizes{}, at{};
  std::vector<std::int64_t> shape;
  for (std::size_t axis = 0; axis < axes.size(); ++axis) {
    sizes[axis] = entry.shape[axes[axis]];
    strides[axis] = 1;
    for (int inner = axes[axis] + 1; inner < entry.shape.rank(); ++inner) strides[axis] *= entry.shape[inner];
    shape.push_back(sizes[axis]);
  }
  SafetensorsEntry result{.dtype = entry.dtype, .shape = Shape(std::span<const std::int64_t>(shape)), .bytes = {}};
  result.bytes.resize(entry.bytes.size());
  const std::size_t size = size_of(entry.dtype);
  for (std::size_t to = 0; to < result.bytes.size(); to += size) {
    std::int64_t from = 0;
    for (std::size_t axis = 0; axis < axes.size(); ++axis) from += at[axis] * strides[axis];
    std::memcpy(&result.bytes[to], &entry.bytes[static_cast<std::size_t>(from) * size], size);
    for (std::size_t axis = axes.size(); axis-- > 0 && ++at[axis] == sizes[axis];) at[axis] = 0;
  }
  return result;
}

constexpr std::array kToKcrs{0, 3, 1, 2}, kToKrsc{0, 2, 3, 1};
constexpr std::array kToChw{2, 0, 1}, kToHwc{1, 2, 0};

SafetensorsEntry as_float32(const SafetensorsEntry& entry) {
  SafetensorsEntry result{.dtype = DType::float32, .shape = entry.shape, .bytes = {}};
  result.bytes.resize(entry.bytes.size() / 2);
  for (std::size_t i = 0; i < entry.bytes.size() / sizeof(double); ++i) {
    double exact = 0.0;
    std::memcpy(&exact, &entry.bytes[i * sizeof exact], sizeof exact);
    const auto value = static_cast<float>(exact);
    std::memcpy(&result.bytes[i * sizeof value], &value, sizeof value);
  }
  return result;
}

/// `name` with its last part changed; nothing else ends in these.
std::string with_ending(const std::string& name, const std::string& ending, const std::string& other) {
  return name.ends_with(ending) ? name.substr(0, name.size() - ending.size()) + other : name;
}

/// One of PyTorch's tensors as ours.
SafetensorsEntry ours_of(const std::string& name, SafetensorsEntry entry) {
  if (entry.dtype != DType::float32) return entry;  // the loader refuses it by name
  if (entry.shape.rank() == 4) return permuted(entry, kToKrsc);
  if (name == kOffsetTensor && entry.shape.rank() == 3) return permuted(entry, kToHwc);
  if (name == kScaleTensor && entry.shape.rank() == 3) entry.shape = {entry.shape.count()};
  return entry;
}

bool is_pytorchs(const Safetensors& file) {
  return std::any_of(file.tensors.begin(), file.tensors.end(),
                     [](const auto& named) { return named.first.ends_with(".running_var"); });
}

/// Takes off what torch.compile and DataParallel put before every name of the module that they wrap.
void unwrap(Safetensors& file) {
  for (const std::string wrapper : {"_orig_mod.", "module.", "_orig_mod."}) {  // either may be within the other
    const auto wrapped = [&](const auto& named) { return named.first.starts_with(wrapper); };
    if (!std::all_of(file.tensors.begin(), file.tensors.end(), wrapped)) continue;
    if (!std::all_of(file.unread.begin(), file.unread.end(), wrapped)) continue;
    const auto strip = [&](auto& all) {
      std::remove_reference_t<decltype(all)> bare;
      for (auto& [name, value] : all) bare[name.substr(wrapper.size())] = std::move(value);
      all = std::move(bare);
    };
    strip(file.tensors);
    strip(file.unread);
  }
}

/// The widths and blocks of the stages, by the blocks' first convolutions.
std::vector<Architecture::StageBlocks> stages_in(const Safetensors& file, const std::string& path) {
  static const std::regex pattern(R"(stages\.([0-9]{1,2})\.blocks\.([0-9]{1,7})\.conv1\.weight)");
  std::map<std::size_t, Architecture::StageBlocks> stages;
  for (const auto& [name, entry] : file.tensors) {
    std::smatch found;
    if (!std::regex_match(name, found, pattern) || entry.shape.rank() != 4) continue;
    Architecture::StageBlocks& stage = stages[std::stoul(found[1])];
    stage.width = entry.shape[0];
    stage.blocks.push_back(std::stol(found[2]));
  }
  std::vector<Architecture::StageBlocks> in_order;
  for (auto& [number, stage] : stages) {
    require(number == in_order.size(), "`", path, "` has blocks of stage ", number, " but none of stage ",
            in_order.size());
    std::sort(stage.blocks.begin(), stage.blocks.end());
    in_order.push_back(std::move(stage));
  }
  return in_order;
}

Architecture seen_in(const Safetensors& file, const std::string& path) {
  const auto shape_of = [&](const char* name, int rank) {
    const auto found = file.tensors.find(name);
    require(found != file.tensors.end() && found->second.shape.rank() == rank, "`", path,
            "` is no network of ours: its metadata has neither `architecture` nor `blocks`, and it has no tensor `",
            name, "` of ", rank, " axes");
    return found->second.shape;
  };
  Architecture architecture;
  architecture.variant = file.tensors.contains("stem.conv.bias") ? Variant::paper : Variant::standard;
  architecture.channels = shape_of("stem.conv.weight", 4)[3];
  architecture.classes = shape_of("classifier.weight", 2)[0];
  architecture.stages = stages_in(file, path);
  const auto has = [&](const std::string& name) { return file.tensors.contains(name); };
  const bool bottleneck = has("stages.0.blocks.0.conv3.weight"), pre_activation = has("final.batch_norm.weight");
  architecture.block = bottleneck       ? pre_activation ? BlockKind::pre_activation_bottleneck : BlockKind::bottleneck
                       : pre_activation ? BlockKind::pre_activation
                                        : BlockKind::basic;
  const Shape stem = shape_of("stem.conv.weight", 4);
  architecture.stem = stem[1] == 7 ? StemKind::imagenet : StemKind::small;
  architecture.set_stem_width(stem[0]);
  // A first block that changes the width, or the size as a second stage's does, projects or pads.
  const bool widens = !architecture.stages.empty() && architecture.stem_channels() != architecture.stage_channels(0);
  if ((widens && !has("stages.0.blocks.0.projection.weight")) ||
      (architecture.stages.size() > 1 && !has("stages.1.blocks.0.projection.weight"))) {
    architecture.shortcut = Shortcut::padding;
  }
  if (file.tensors.contains(kOffsetTensor)) {
    const Shape image = shape_of(kOffsetTensor, 3);
    architecture.height = image[0];
    architecture.width = image[1];
  } else if (architecture.stem == StemKind::imagenet) {
    architecture.height = architecture.width = 224;
  }
  try {
    architecture.check();
  } catch (const Error& error) {
    fail("`", path, "` has no metadata, and its tensors make no network: ", error.what());
  }
  return architecture;
}

Architecture architecture_beside(const std::string& path) {
  try {
    return Architecture::from_json(read_file(path));
  } catch (const Error& error) {
    fail("`", path, "`: ", error.what());
  }
}

/// Whether the two differ in nothing but the blocks' order and what was removed from them.
bool same_tensors(Architecture a, Architecture b) {
  for (Architecture* const one : {&a, &b}) {
    for (Architecture::StageBlocks& stage : one->stages) {
      std::sort(stage.blocks.begin(), stage.blocks.end());
      stage.given_away = 0;
    }
  }
  return a == b;
}

}  // namespace

Safetensors as_pytorch(const Safetensors& file, const Architecture& architecture) {
  std::map<std::string, std::string> renamed;  // `stages.0.blocks.7` to `stages.0.blocks.2`
  Architecture consecutive = architecture;
  for (std::size_t stage = 0; stage < architecture.stages.size(); ++stage) {
    auto& numbers = consecutive.stages[stage].blocks;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      renamed[block_name(stage, numbers[i])] = block_name(stage, static_cast<std::int64_t>(i));
      numbers[i] = static_cast<std::int64_t>(i);
    }
    consecutive.stages[stage].given_away = 0;
  }
  Safetensors result{.tensors = {}, .metadata = file.metadata, .unread = {}};
  result.metadata["architecture"] = consecutive.to_json();
  result.metadata["format"] = "pt";
  for (const auto& [name, entry] : file.tensors) {
    std::string theirs = with_ending(name, ".running_variance", ".running_var");
    const std::size_t block_end = theirs.find('.', theirs.find(".blocks.") + sizeof ".blocks." - 1);
    const auto block = renamed.find(theirs.substr(0, block_end));
    if (theirs.starts_with("stages.") && block != renamed.end()) theirs.replace(0, block_end, block->second);
    SafetensorsEntry& made = result.tensors[theirs];
    made = entry;
    if (entry.shape.rank() == 4) made = permuted(entry, kToKcrs);
    if (name == kOffsetTensor) made = permuted(entry, kToChw);
    if (name == kScaleTensor) made.shape = {entry.shape.count(), 1, 1};
  }
  return result;
}

void make_ours(Safetensors& file, const std::string& path) {
  unwrap(file);
  rename_field_networks(file);
  const bool pytorchs = is_pytorchs(file);
  std::map<std::string, SafetensorsEntry> tensors;
  for (auto& [name, entry] : file.tensors) {
    if (entry.dtype == DType::float64) entry = as_float32(entry);
    if (!pytorchs) {
      tensors[name] = std::move(entry);
    } else if (!name.ends_with(".num_batches_tracked")) {
      tensors[with_ending(name, ".running_var", ".running_variance")] = ours_of(name, std::move(entry));
    }
  }
  file.tensors = std::move(tensors);
  for (const auto& [name, type] : file.unread) {
    require(pytorchs && name.ends_with(".num_batches_tracked"), "`", path, "`: expected `", name,
            "` to be F32, F64, F16 or BF16, as weights are, it is ", type);
  }
  file.unread.clear();
}

Architecture architecture_from_tensors(const Safetensors& file, const std::string& path, const Remark& remark) {
  const auto say = [&](const std::string& line) {
    if (remark) remark(line);
  };
  const Architecture seen = seen_in(file, path);
  const std::string lost = "`" + path + "` has no metadata (another program wrote it?): ";
  const std::string beside = (std::filesystem::path(path).parent_path() / "architecture.json").string();
  std::error_code error;
  if (std::filesystem::is_regular_file(beside, error)) {
    const Architecture told = architecture_beside(beside);
    if (same_tensors(told, seen)) {
      say(lost + "its network is as `" + beside + "` says, its classes have no names");
      return told;
    }
    say("`" + beside + "` describes another network than the one in `" + path + "`, and is passed over");
  }
  std::string assumed;
  if (std::any_of(seen.stages.begin(), seen.stages.end(), [](const auto& stage) { return stage.blocks.size() > 2; })) {
    assumed += ", its blocks are taken to run in the order of their numbers";
  }
  if (!file.tensors.contains(kOffsetTensor)) assumed += concat(", its images to be ", seen.height, "x", seen.width);
  say(lost + "its network is made out from its tensors" + assumed + ", its classes have no names");
  return seen;
}

}  // namespace stagewise
