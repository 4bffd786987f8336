#include "layers/architecture.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "layers/cost.h"
#include "tensor/enum_names.h"

namespace stagewise {
namespace {

constexpr std::int64_t kMaxParameters = 1'000'000'000, kMaxWidth = 4096;
constexpr std::int64_t kExpansion = 4;  // of a bottleneck

template <class... What>
void check_range(std::int64_t value, std::int64_t low, std::int64_t high, const What&... what) {
  require(value >= low && value <= high, "[architecture] expected ", what..., " from ", low, " to ", high, ", got ",
          value);
}

void check_blocks(const Architecture::StageBlocks& stage, std::size_t number) {
  check_range(stage.width, 1, kMaxWidth, "a width of stage ", number);
  check_range(static_cast<std::int64_t>(stage.blocks.size()), 1, kMaxDepth, "a number of blocks in stage ", number);
  std::set<std::int64_t> seen;
  for (const std::int64_t block : stage.blocks) {
    check_range(block, 0, kMaxBlockNumber, "a block number in stage ", number);
    require(seen.insert(block).second, "[architecture] expected distinct block numbers in stage ", number, ", got ",
            block, " twice");
  }
  check_range(stage.next_number(), 1, kMaxBlockNumber + 1, "a next block number in stage ", number);
}

using Json = nlohmann::ordered_json;

// For messages: a number or a name as it stands, of lists and objects only what they are.
std::string shown(const Json& json) { return json.is_structured() ? json.type_name() : json.dump(); }

const Json& member(const Json& object, const char* key) {
  const auto found = object.find(key);
  require(found != object.end(), "[architecture] expected a member \"", key, "\", got none");
  return *found;
}

std::int64_t whole_number(const Json& json, const char* what) {
  require(json.is_number_integer(), "[architecture] expected a whole number for \"", what, "\", got ", shown(json));
  const bool beyond = json.is_number_unsigned() && json.get<std::uint64_t>() > std::uint64_t{INT64_MAX};
  require(!beyond, "[architecture] expected a smaller number for \"", what, "\", got ", shown(json));
  return json.get<std::int64_t>();
}

std::string name_in(const Json& json, const char* what) {
  require(json.is_string(), "[architecture] expected a name for \"", what, "\", got ", shown(json));
  return json.get<std::string>();
}

Architecture::StageBlocks stage_from(const Json& json) {
  require(json.is_object(), "[architecture] expected stages that are objects, got ", shown(json));
  Architecture::StageBlocks stage;
  stage.width = whole_number(member(json, "width"), "width");
  const Json& blocks = member(json, "blocks");
  require(blocks.is_array(), "[architecture] expected a list of numbers for \"blocks\", got ", shown(blocks));
  for (const Json& block : blocks) stage.blocks.push_back(whole_number(block, "blocks"));
  // Files of networks that nothing was removed from may lack it.
  if (json.contains("next")) stage.given_away = whole_number(json["next"], "next");
  return stage;
}

}  // namespace

std::int64_t Architecture::StageBlocks::next_number() const {
  std::int64_t next = given_away;
  for (const std::int64_t block : blocks) next = std::max(next, block + 1);
  return next;
}

std::string name_of(Variant variant) { return variant == Variant::standard ? "standard" : "paper"; }

Variant variant_from(const std::string& name) {
  return enum_from_name("variant", name, {Variant::standard, Variant::paper});
}

std::string name_of(BlockKind kind) {
  switch (kind) {
    case BlockKind::basic: return "basic";
    case BlockKind::bottleneck: return "bottleneck";
    case BlockKind::pre_activation: return "pre-activation";
    case BlockKind::pre_activation_bottleneck: return "pre-activation-bottleneck";
  }
  return "?";
}

std::string name_of(StemKind kind) { return kind == StemKind::small ? "small" : "imagenet"; }

std::string name_of(Shortcut shortcut) { return shortcut == Shortcut::projection ? "projection" : "padding"; }

BlockKind block_kind_from(const std::string& name) {
  return enum_from_name(
      "block kind", name,
      {BlockKind::basic, BlockKind::bottleneck, BlockKind::pre_activation, BlockKind::pre_activation_bottleneck});
}

StemKind stem_kind_from(const std::string& name) {
  return enum_from_name("stem", name, {StemKind::small, StemKind::imagenet});
}

Shortcut shortcut_from(const std::string& name) {
  return enum_from_name("shortcut", name, {Shortcut::projection, Shortcut::padding});
}

bool is_bottleneck(BlockKind kind) {
  return kind == BlockKind::bottleneck || kind == BlockKind::pre_activation_bottleneck;
}

bool is_pre_activation(BlockKind kind) {
  return kind == BlockKind::pre_activation || kind == BlockKind::pre_activation_bottleneck;
}

namespace {

/// The paper's networks are of one kind, and a skip of padding can't lose channels.
void check_style(const Architecture& architecture) {
  const bool plain = architecture.block == BlockKind::basic && architecture.stem == StemKind::small &&
                     architecture.shortcut == Shortcut::projection;
  require(plain || architecture.variant == Variant::standard,
          "[architecture] the paper variant has basic blocks, the small stem and projections, got ",
          name_of(architecture.block), ", ", name_of(architecture.stem), " and ", name_of(architecture.shortcut));
  check_range(architecture.stem_width, 0, kMaxWidth, "a width of the stem");
  if (architecture.shortcut == Shortcut::projection) return;
  std::int64_t before = architecture.stem_channels();
  for (std::size_t stage = 0; stage < architecture.stages.size(); ++stage) {
    const std::int64_t channels = architecture.stage_channels(stage);
    require(channels >= before,
            "[architecture] expected stages that don't lose channels, for shortcuts of padding; got ", channels,
            " behind ", before, " in stage ", stage);
    before = channels;
  }
}

}  // namespace

void Architecture::check() const {
  check_range(classes, 1, 100'000, "a number of classes");
  check_range(height, 1, 1024, "an image height");
  check_range(width, 1, 1024, "an image width");
  check_range(channels, 1, 1024, "a number of image channels");
  require(!stages.empty(), "[architecture] expected at least one stage, got none");
  // 1024 pixels can be halved ten times.
  check_range(static_cast<std::int64_t>(stages.size()), 1, 11, "a number of stages");
  const std::int64_t shrink = (std::int64_t{1} << (stages.size() - 1)) * (stem == StemKind::imagenet ? 4 : 1);
  require(height >= shrink && width >= shrink, "[architecture] expected images of at least ", shrink, "x", shrink,
          " for ", stem == StemKind::imagenet ? "a stem that quarters them and " : "", stages.size(),
          " stages, each but the first of which halves them, got ", height, "x", width);
  require(variant == Variant::standard || (height % shrink == 0 && width % shrink == 0),
          "[architecture] expected image sizes that are multiples of ", shrink, " for ", stages.size(),
          " stages of the paper variant, got ", height, "x", width);
  for (std::size_t stage = 0; stage < stages.size(); ++stage) check_blocks(stages[stage], stage);
  check_style(*this);
  const std::int64_t parameters = cost_of(*this).total().parameters();
  require(parameters <= kMaxParameters, "[architecture] expected a network of at most ", kMaxParameters,
          " parameters, got ", parameters);
}

Architecture Architecture::of_depths(const std::vector<std::int64_t>& depths, Variant variant,
                                     const NetworkStyle& style) {
  Architecture architecture;
  architecture.variant = variant;
  architecture.block = style.block;
  architecture.stem = style.stem;
  architecture.shortcut = style.shortcut;
  if (style.stem == StemKind::imagenet) architecture.height = architecture.width = 224;
  // A longer list is wrong in any case, and its widths would overflow.
  check_range(static_cast<std::int64_t>(depths.size()), 1, 11, "a number of stages");
  require(style.widths.empty() || style.widths.size() == depths.size(), "[architecture] expected a width for each of ",
          depths.size(), " stages, got ", style.widths.size());
  for (const std::int64_t depth : depths) {
    check_range(depth, 1, kMaxDepth, "a depth");
    const std::size_t number = architecture.stages.size();
    StageBlocks stage;
    stage.width = style.widths.empty() ? std::int64_t{16} << number : style.widths[number];
    for (std::int64_t block = 0; block < depth; ++block) stage.blocks.push_back(block);
    architecture.stages.push_back(std::move(stage));
  }
  architecture.set_stem_width(style.stem_width);
  architecture.check();
  return architecture;
}

void Architecture::set_stem_width(std::int64_t wanted) {
  stem_width = !stages.empty() && wanted == stages.front().width ? 0 : wanted;
}

NetworkStyle Architecture::style() const {
  NetworkStyle style{.block = block, .stem = stem, .shortcut = shortcut, .widths = {}, .stem_width = stem_width};
  bool doubling = true;
  for (std::size_t stage = 0; stage < stages.size(); ++stage) {
    doubling = doubling && stages[stage].width == std::int64_t{16} << stage;
    style.widths.push_back(stages[stage].width);
  }
  if (doubling) style.widths.clear();
  return style;
}

std::int64_t Architecture::stem_channels() const { return stem_width > 0 ? stem_width : stages.front().width; }

std::int64_t Architecture::stage_channels(std::size_t stage) const {
  return stages.at(stage).width * (is_bottleneck(block) ? kExpansion : 1);
}

std::vector<std::int64_t> Architecture::depths() const {
  std::vector<std::int64_t> depths;
  for (const StageBlocks& stage : stages) depths.push_back(static_cast<std::int64_t>(stage.blocks.size()));
  return depths;
}

namespace {

void check_stage(const Architecture& architecture, std::size_t stage) {
  require(stage < architecture.stages.size(), "[architecture] expected a stage below ", architecture.stages.size(),
          ", got ", stage);
}

}  // namespace

std::int64_t Architecture::insert(std::size_t stage, std::int64_t index) {
  check_stage(*this, stage);
  StageBlocks& grown = stages[stage];
  const std::int64_t depth = std::ssize(grown.blocks), number = grown.next_number();
  require(index >= 1 && index <= depth, "[architecture] expected an index from 1 to ", depth,
          " to insert a block into stage ", stage, ", got ", index);
  require(depth < kMaxDepth, "[architecture] expected at most ", kMaxDepth, " blocks in stage ", stage);
  require(number <= kMaxBlockNumber, "[architecture] expected block numbers up to ", kMaxBlockNumber, " in stage ",
          stage);
  grown.blocks.insert(grown.blocks.begin() + index, number);
  grown.given_away = number + 1;
  return number;
}

void Architecture::check_removable(std::size_t stage, std::int64_t number) const {
  check_stage(*this, stage);
  const std::vector<std::int64_t>& blocks = stages[stage].blocks;
  const auto found = std::find(blocks.begin(), blocks.end(), number);
  require(found != blocks.end(), "[architecture] there is no block ", number, " in stage ", stage);
  require(found != blocks.begin(), "[architecture] block ", number, " of stage ", stage,
          " is the first, which changes the resolution and stays");
}

void Architecture::remove(std::size_t stage, std::int64_t number) {
  check_removable(stage, number);
  StageBlocks& shrunk = stages[stage];
  shrunk.given_away = shrunk.next_number();
  std::erase(shrunk.blocks, number);
}

std::string Architecture::to_json() const {
  Json json{{"variant", name_of(variant)},
            {"height", height},
            {"width", width},
            {"channels", channels},
            {"classes", classes}};
  // What is as in networks of basic blocks is left out, as in files of versions that knew no others.
  if (block != BlockKind::basic) json["block"] = name_of(block);
  if (stem != StemKind::small) json["stem"] = name_of(stem);
  if (shortcut != Shortcut::projection) json["shortcut"] = name_of(shortcut);
  if (stem_width > 0) json["stem_width"] = stem_width;
  json["stages"] = Json::array();
  for (const StageBlocks& stage : stages) {
    json["stages"].push_back({{"width", stage.width}, {"blocks", stage.blocks}, {"next", stage.next_number()}});
  }
  return json.dump();
}

Architecture Architecture::from_json(const std::string& text) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    fail("[architecture] expected JSON: ", error.what());
  }
  require(json.is_object(), "[architecture] expected a JSON object, got ", shown(json));
  Architecture architecture;
  architecture.variant = variant_from(name_in(member(json, "variant"), "variant"));
  if (json.contains("block")) architecture.block = block_kind_from(name_in(json["block"], "block"));
  if (json.contains("stem")) architecture.stem = stem_kind_from(name_in(json["stem"], "stem"));
  if (json.contains("shortcut")) architecture.shortcut = shortcut_from(name_in(json["shortcut"], "shortcut"));
  architecture.height = whole_number(member(json, "height"), "height");
  architecture.width = whole_number(member(json, "width"), "width");
  architecture.channels = whole_number(member(json, "channels"), "channels");
  architecture.classes = whole_number(member(json, "classes"), "classes");
  const Json& stages = member(json, "stages");
  require(stages.is_array(), "[architecture] expected a list for \"stages\", got ", shown(stages));
  for (const Json& stage : stages) architecture.stages.push_back(stage_from(stage));
  if (json.contains("stem_width")) architecture.set_stem_width(whole_number(json["stem_width"], "stem_width"));
  architecture.check();
  return architecture;
}

std::string kind_text(const Architecture& architecture) {
  std::string text = name_of(architecture.variant);
  if (architecture.block != BlockKind::basic) text += ", " + name_of(architecture.block) + " blocks";
  if (architecture.stem != StemKind::small) text += ", " + name_of(architecture.stem) + " stem";
  if (architecture.shortcut != Shortcut::projection) text += ", shortcuts by " + name_of(architecture.shortcut);
  return text;
}

namespace {

std::vector<std::int64_t> parse_list(const std::string& text, const std::string& flag, std::int64_t most,
                                     const char* such_as) {
  std::vector<std::int64_t> numbers;
  const char* next = text.data();
  const char* const end = text.data() + text.size();
  for (bool more = true; more; ++next) {
    std::int64_t number = 0;
    const auto [stop, error] = std::from_chars(next, end, number);
    require(error == std::errc() && number >= 1 && number <= most && (stop == end || *stop == ','), "[", flag,
            "] expected whole numbers from 1 to ", most, " with commas between, such as ", such_as, ", got \"", text,
            "\"");
    numbers.push_back(number);
    next = stop;
    more = stop != end;
  }
  return numbers;
}

}  // namespace

std::vector<std::int64_t> parse_widths(const std::string& text, const std::string& flag) {
  return parse_list(text, flag, kMaxWidth, "16,32,64");
}

std::vector<std::int64_t> parse_depths(const std::string& text, const std::string& flag) {
  return parse_list(text, flag, kMaxDepth, "3,3,3");
}

}  // namespace stagewise
