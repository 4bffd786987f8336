#include "layers/architecture.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "layers/cost.h"
#include "tensor/enum_names.h"

namespace stagewise {
namespace {

constexpr std::int64_t kMaxParameters = 1'000'000'000;

template <class... What>
void check_range(std::int64_t value, std::int64_t low, std::int64_t high, const What&... what) {
  require(value >= low && value <= high, "[architecture] expected ", what..., " from ", low, " to ", high, ", got ",
          value);
}

void check_blocks(const Architecture::StageBlocks& stage, std::size_t number) {
  check_range(stage.width, 1, 4096, "a width of stage ", number);
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

void Architecture::check() const {
  check_range(classes, 1, 100'000, "a number of classes");
  check_range(height, 1, 1024, "an image height");
  check_range(width, 1, 1024, "an image width");
  check_range(channels, 1, 1024, "a number of image channels");
  require(!stages.empty(), "[architecture] expected at least one stage, got none");
  // 1024 pixels can be halved ten times.
  check_range(static_cast<std::int64_t>(stages.size()), 1, 11, "a number of stages");
  const std::int64_t shrink = std::int64_t{1} << (stages.size() - 1);
  require(height >= shrink && width >= shrink, "[architecture] expected images of at least ", shrink, "x", shrink,
          " for ", stages.size(), " stages, each but the first of which halves them, got ", height, "x", width);
  require(variant == Variant::standard || (height % shrink == 0 && width % shrink == 0),
          "[architecture] expected image sizes that are multiples of ", shrink, " for ", stages.size(),
          " stages of the paper variant, got ", height, "x", width);
  for (std::size_t stage = 0; stage < stages.size(); ++stage) check_blocks(stages[stage], stage);
  const std::int64_t parameters = cost_of(*this).total().parameters();
  require(parameters <= kMaxParameters, "[architecture] expected a network of at most ", kMaxParameters,
          " parameters, got ", parameters);
}

Architecture Architecture::of_depths(const std::vector<std::int64_t>& depths, Variant variant) {
  Architecture architecture;
  architecture.variant = variant;
  // A longer list is wrong in any case, and its widths would overflow.
  check_range(static_cast<std::int64_t>(depths.size()), 1, 11, "a number of stages");
  for (const std::int64_t depth : depths) {
    check_range(depth, 1, kMaxDepth, "a depth");
    StageBlocks stage;
    stage.width = std::int64_t{16} << architecture.stages.size();
    for (std::int64_t block = 0; block < depth; ++block) stage.blocks.push_back(block);
    architecture.stages.push_back(std::move(stage));
  }
  architecture.check();
  return architecture;
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
  Json json{{"variant", name_of(variant)}, {"height", height},   {"width", width},
            {"channels", channels},        {"classes", classes}, {"stages", Json::array()}};
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
  const Json& variant = member(json, "variant");
  require(variant.is_string(), "[architecture] expected a name for \"variant\", got ", shown(variant));
  architecture.variant = variant_from(variant.get<std::string>());
  architecture.height = whole_number(member(json, "height"), "height");
  architecture.width = whole_number(member(json, "width"), "width");
  architecture.channels = whole_number(member(json, "channels"), "channels");
  architecture.classes = whole_number(member(json, "classes"), "classes");
  const Json& stages = member(json, "stages");
  require(stages.is_array(), "[architecture] expected a list for \"stages\", got ", shown(stages));
  for (const Json& stage : stages) architecture.stages.push_back(stage_from(stage));
  architecture.check();
  return architecture;
}

std::vector<std::int64_t> parse_depths(const std::string& text, const std::string& flag) {
  std::vector<std::int64_t> depths;
  const char* next = text.data();
  const char* const end = text.data() + text.size();
  for (bool more = true; more; ++next) {
    std::int64_t depth = 0;
    const auto [stop, error] = std::from_chars(next, end, depth);
    require(error == std::errc() && depth >= 1 && depth <= kMaxDepth && (stop == end || *stop == ','), "[", flag,
            "] expected whole numbers from 1 to ", kMaxDepth, " with commas between, such as 3,3,3, got \"", text,
            "\"");
    depths.push_back(depth);
    next = stop;
    more = stop != end;
  }
  return depths;
}

}  // namespace stagewise
