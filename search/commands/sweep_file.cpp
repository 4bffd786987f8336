#include "search/commands/sweep_file.h"

#include <algorithm>

#include "search/commands/toml_file.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

/// Where in the file things are, for messages.
struct Place {
  const std::string& path;
  std::string at(const toml::node& node) const { return toml_place(path, node.source()); }
};

struct Arm {
  std::string name, command;
  std::vector<std::uint64_t> seeds;
  std::vector<std::pair<std::string, std::string>> options;
};

std::string string_of(const toml::node& node, const char* what, const Place& place) {
  require(node.is_string() && !node.as_string()->get().empty(), place.at(node), ": expected ", what, " in quotes");
  return node.as_string()->get();
}

std::vector<std::uint64_t> seeds_of(const toml::node& node, const Place& place) {
  const toml::array* list = node.as_array();
  require(list != nullptr && !list->empty(), place.at(node), ": expected seeds such as [1, 2, 3]");
  std::vector<std::uint64_t> seeds;
  for (const toml::node& item : *list) {
    require(item.is_integer() && item.as_integer()->get() >= 0, place.at(node), ": expected whole numbers as seeds");
    const auto seed = static_cast<std::uint64_t>(item.as_integer()->get());
    require(std::find(seeds.begin(), seeds.end(), seed) == seeds.end(), place.at(node), ": seed ", seed,
            " is there twice");
    seeds.push_back(seed);
  }
  return seeds;
}

const toml::table& table_of(const toml::node& node, const std::string& name, const Place& place) {
  require(node.is_table(), place.at(node), ": expected [", name, "] to be a table");
  return *node.as_table();
}

void check_arm_name(const std::string& name, const toml::node& node, const Place& place) {
  const bool sound =
      !name.empty() && name[0] != '.' && name[0] != '-' &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
  require(sound, place.at(node), ": expected an arm's name of letters, digits, `.`, `_` and `-`, got `", name, "`");
}

Arm arm_of(const std::string& name, const toml::node& node, const toml::table& common,
           const std::vector<std::uint64_t>& seeds, const Place& place) {
  check_arm_name(name, node, place);
  const toml::table& own = table_of(node, "arms." + name, place);
  Arm arm{.name = name, .seeds = seeds};
  for (const auto& [key, value] : common) {
    if (!own.contains(key.str())) arm.options.emplace_back(key.str(), toml_value_text(value, place.at(value)));
  }
  for (const auto& [key, value] : own) {
    if (key == "command") {
      arm.command = string_of(value, "\"train\" or \"search\"", place);
    } else if (key == "seeds") {
      arm.seeds = seeds_of(value, place);
    } else {
      arm.options.emplace_back(key.str(), toml_value_text(value, place.at(value)));
    }
  }
  require(arm.command == "train" || arm.command == "search", place.at(node), ": arm `", name,
          "` needs command = \"train\" or \"search\"");
  require(!arm.seeds.empty(), place.at(node), ": arm `", name, "` needs seeds, its own or the file's");
  return arm;
}

/// The tables in `arms`, in the order in which they are written.
std::vector<Arm> arms_of(const toml::table& arms, const toml::table& common, const std::vector<std::uint64_t>& seeds,
                         const Place& place) {
  std::vector<std::pair<toml::source_index, Arm>> found;
  for (const auto& [key, value] : arms) {
    found.emplace_back(value.source().begin.line, arm_of(std::string(key.str()), value, common, seeds, place));
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Arm> ordered;
  for (auto& [line, arm] : found) ordered.push_back(std::move(arm));
  return ordered;
}

std::vector<SweepRun> in_order(const std::vector<Arm>& arms, const std::string& out) {
  std::vector<std::uint64_t> seeds;  // of any arm, each once
  for (const Arm& arm : arms) {
    for (const std::uint64_t seed : arm.seeds) {
      if (std::find(seeds.begin(), seeds.end(), seed) == seeds.end()) seeds.push_back(seed);
    }
  }
  std::vector<SweepRun> runs;
  for (const std::uint64_t seed : seeds) {
    for (const Arm& arm : arms) {
      if (std::find(arm.seeds.begin(), arm.seeds.end(), seed) == arm.seeds.end()) continue;
      runs.push_back({.arm = arm.name, .command = arm.command, .seed = seed, .options = arm.options});
      runs.back().path = out + "/" + runs.back().name();
    }
  }
  return runs;
}

}  // namespace

std::string SweepRun::name() const { return arm + "/seed-" + std::to_string(seed); }

std::vector<std::string> SweepRun::arguments() const {
  std::vector<std::string> arguments = {"--seed=" + std::to_string(seed)};
  for (const auto& [name, value] : options) arguments.push_back("--" + name + "=" + value);
  return arguments;
}

Sweep read_sweep(const std::string& path, const std::string& out, const std::string& data) {
  const toml::table file = parse_toml(read_file(path), path);
  const Place place{path};
  Sweep sweep{.out = out, .runs = {}};
  std::vector<std::uint64_t> seeds;
  const toml::table none;
  const toml::table* common = &none;  // not a copy, which would forget its lines
  for (const auto& [key, value] : file) {
    if (key == "out") {
      const std::string own = string_of(value, "a folder", place);
      if (out.empty()) sweep.out = own;
    } else if (key == "seeds") {
      seeds = seeds_of(value, place);
    } else if (key == "common") {
      common = &table_of(value, "common", place);
    } else {
      require(key == "arms", place.at(value), ": `", key.str(), "` has no meaning here: expected out, seeds, [common] ",
              "and [arms.NAME]");
    }
  }
  require(!sweep.out.empty(), "`", path, "`: expected out = \"FOLDER\", here or as --out");
  const toml::table* arms = file["arms"].as_table();
  require(arms != nullptr && !arms->empty(), "`", path, "`: expected at least one [arms.NAME]");
  sweep.runs = in_order(arms_of(*arms, *common, seeds, place), sweep.out);
  for (SweepRun& run : sweep.runs) {
    if (data.empty()) break;
    std::erase_if(run.options, [](const auto& option) { return option.first == "data"; });
    run.options.emplace_back("data", data);
  }
  return sweep;
}

}  // namespace stagewise
