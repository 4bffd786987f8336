#include "search/report/run_story.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "layers/cost.h"
#include "search/network_drawing.h"
#include "search/run/text.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;
using Depths = std::vector<std::int64_t>;

constexpr std::size_t kMostEpochs = 500;
constexpr double kHalfInterval = 1.96;  // standard errors on either side of a normal mean, for 95%

Json field(const Json& event, const char* key) { return event.value(key, Json()); }

Depths depths_in(const Json& event, const char* key = "blocks") { return event.value(key, Depths{}); }

void add_cost(const Json& start, const Depths& depths, OrderedJson& network) {
  const auto architecture = architecture_in(start, depths);
  if (!architecture) return;
  const Cost cost = cost_of(*architecture).total();
  network["parameters"] = cost.parameters();
  network["macs"] = cost.macs;
}

/// Goes through the events once and keeps what the story is made of.
class Teller {
 public:
  explicit Teller(const Json& start) : start_(start) {
    const bool grows = start.value("strategy", "train") != "train";
    show(depths_in(start), grows ? "the network that it starts from" : "the network that is trained", 0.0);
  }

  void hear(const Json& event) {
    const std::string name = event.at("event");
    work_ = event.value("work", work_);
    if (name == "epoch") hear_epoch(event);
    if (name == "insertion") hear_insertion(event);
    if (name == "score") hear_score(event);
    if (name == "decision") hear_decision(event);
    if (name == "individual") hear_individual(event);
    if (name == "stop") stop_reason_ = event.value("reason", "");
    if (name == "held-out images join the training") held_out_joined_at_ = work_;
    if (name == "finished") hear_end(event);
    seconds_ = event.value("seconds", seconds_);
  }

  OrderedJson story() const {
    OrderedJson story;
    for (const char* key : {"device", "data", "training_images", "validation_images", "variant", "strategy", "seed",
                            "batch_size", "optimiser", "learning_rate", "weight_decay", "plan", "config", "utc"}) {
      story[key] = field(start_, key);
    }
    story["budget"] = field(start_, "work");
    story["work"] = work_;
    story["seconds"] = seconds_;
    story["finished"] = !end_.is_null();
    story["stop_reason"] = stop_reason_;
    story["held_out_joined_at"] = held_out_joined_at_ ? OrderedJson(*held_out_joined_at_) : OrderedJson();
    for (const char* key : {"looking", "models", "images_seen", "validation_accuracy", "test_right", "test_accuracy",
                            "joules", "joules_seconds"}) {
      story[key] = end_.is_null() ? Json() : field(end_, key);
    }
    story["network"] = final_network();
    story["epochs"] = thinned();
    story["growth"] = growth_;
    story["decisions"] = decisions_;
    story["networks"] = networks_;
    return story;
  }

 private:
  /// A drawing of the network as it is from here on, beside the one before.
  void show(const Depths& depths, const std::string& label, double work) {
    OrderedJson stages = OrderedJson::array();
    for (std::size_t stage = 0; stage < depths.size(); ++stage) {
      const std::int64_t before = stage < shown_.size() ? shown_[stage] : depths[stage], now = depths[stage];
      OrderedJson drawn = {{"kept", std::min(before, now)},
                           {"fresh", std::max<std::int64_t>(0, now - before)},
                           {"out", std::max<std::int64_t>(0, before - now)}};
      if (const auto architecture = architecture_in(start_, depths)) {
        drawn["maps"] = map_size(*architecture, stage) + "x" + std::to_string(architecture->stage_channels(stage));
      }
      stages.push_back(drawn);
    }
    growth_.push_back({{"label", label}, {"work", work}, {"blocks", join(depths)}, {"stages", stages}});
    shown_ = depths;
  }

  void add_network(const Depths& depths, double accuracy, const char* measured_on) {
    OrderedJson network = {{"blocks", join(depths)}, {"accuracy", accuracy}, {"measured_on", measured_on}};
    add_cost(start_, depths, network);
    networks_.push_back(network);
  }

  /// The network is replaced: how good it was, as far as it is known, which is on images that it was being trained on.
  void leave_network() {
    if (!last_epoch_.is_null() && depths_in(last_epoch_) == shown_) {
      add_network(shown_, last_epoch_.value("accuracy", 0.0), "training");
    }
  }

  void hear_epoch(const Json& event) {
    if (depths_in(event) != shown_) {
      shown_ = {};
      show(depths_in(event), "another network is trained", work_);
    }
    epochs_.push_back({{"epoch", field(event, "epoch")},
                       {"work", field(event, "work")},
                       {"loss", field(event, "loss")},
                       {"accuracy", field(event, "accuracy")},
                       {"rate", field(event, "rate")},
                       {"validation_loss", field(event, "validation_loss")},
                       {"validation_accuracy", field(event, "validation_accuracy")}});
    last_epoch_ = event;
  }

  void hear_insertion(const Json& event) {
    leave_network();
    const double kept = event.value("shrink", 1.0);  // which earlier versions don't say
    const std::string weights = kept == 1.0   ? ""
                                : kept == 0.0 ? ", all weights drawn anew"
                                              : concat(", ", percent(kept), " of every weight kept");
    show(depths_in(event), concat("round ", event.value("round", 0), ": new blocks", weights), work_);
  }

  void hear_score(const Json& event) {
    if (event.contains("validation_accuracy")) {
      add_network(depths_in(event), event.at("validation_accuracy"), "held-out");
    }
    if (depths_in(event) != shown_) show(depths_in(event), "trained from scratch, one step deeper everywhere", work_);
    before_ = std::exchange(last_score_, event);
  }

  void hear_decision(const Json& event) {
    const bool trial = !event.contains("blocks_before");  // else the paper's
    const Depths after = depths_in(event, "blocks_after");
    OrderedJson stages = OrderedJson::array();
    for (std::size_t stage = 0; stage < event.at("stages").size(); ++stage) {
      const Json& decided = event.at("stages")[stage];
      stages.push_back(trial ? trial_row(decided) : rise_row(decided, stage));
    }
    const auto round = event.value("round", std::int64_t{0});
    const std::string what = trial ? join(shown_) + " on trial" : join(depths_in(event, "blocks_before"));
    decisions_.push_back({{"title", concat("Round ", round, ": ", what, ", then ", join(after))},
                          {"round", round},
                          {"work", work_},
                          {"criterion", field(event, "criterion")},
                          {"compared", trial ? "score" : "rise"},
                          {"margin", field(event, "margin")},
                          {"stages", stages}});
    show(after,
         concat("round ", round, ": ",
                trial ? trial_outcome(event.at("stages")) : "the stages whose score rose have grown"),
         work_);
  }

  static std::string trial_outcome(const Json& stages) {
    std::int64_t all = 0, out = 0;
    for (const Json& stage : stages) {
      const auto fresh = stage.value("new", std::int64_t{0});
      all += fresh;
      out += stage.value("stays", true) ? 0 : fresh;
    }
    if (out == 0) return "the new blocks stay";
    return concat(out, " of the ", all, " new blocks are taken out");
  }

  static OrderedJson trial_row(const Json& decided) {
    return {{"score", decided.value("new", 1) == 0 ? Json() : field(decided, "score")},
            {"lower", field(decided, "lower")},
            {"upper", field(decided, "upper")},
            {"reason", field(decided, "reason")}};
  }

  /// By how much the score rose, with the errors of both networks' scores.
  OrderedJson rise_row(const Json& decided, std::size_t stage) const {
    OrderedJson row = {{"score", field(decided, "rise")}, {"reason", field(decided, "reason")}};
    double variance = 0.0;
    for (const Json* score : {&before_, &last_score_}) {
      const auto errors = score->is_null() ? std::vector<double>{} : score->value("errors", std::vector<double>{});
      if (stage >= errors.size() || !row["score"].is_number()) return row;
      variance += errors[stage] * errors[stage];
    }
    const double rise = row["score"];
    row["lower"] = rise - kHalfInterval * std::sqrt(variance);
    row["upper"] = rise + kHalfInterval * std::sqrt(variance);
    return row;
  }

  void hear_individual(const Json& event) {
    const double accuracy = event.value("validation_accuracy", 0.0);
    add_network(depths_in(event), accuracy, "held-out");
    shown_ = {};  // no network is the one before with more blocks
    show(depths_in(event),
         concat("network ", event.value("number", 0), ": ", percent(accuracy), " of the held-out images"), work_);
  }

  void hear_end(const Json& event) {
    end_ = event;
    if (depths_in(event) != shown_) show(depths_in(event), "the network that was kept", work_);
    if (event.contains("test_accuracy")) {
      add_network(depths_in(event), event.at("test_accuracy"), "test");
    } else if (event.contains("validation_accuracy")) {
      add_network(depths_in(event), event.at("validation_accuracy"), "held-out");
    } else {
      leave_network();
    }
    for (const char* key : {"parameters", "macs"}) {
      if (event.contains(key) && !networks_.empty()) networks_.back()[key] = event.at(key);
    }
  }

  OrderedJson final_network() const {
    OrderedJson network = {{"blocks", join(shown_)}};
    add_cost(start_, shown_, network);
    for (const char* key : {"parameters", "macs"}) {
      if (!end_.is_null() && end_.contains(key)) network[key] = end_.at(key);
    }
    return network;
  }

  OrderedJson thinned() const {
    OrderedJson list = OrderedJson::array();
    const std::size_t count = epochs_.size(), shown = std::min(count, kMostEpochs);
    for (std::size_t i = 0; i < shown; ++i) list.push_back(epochs_[(i + 1) * count / shown - 1]);  // the last is in it
    return list;
  }

  const Json start_;
  Json last_epoch_, before_, last_score_, end_;
  std::string stop_reason_;
  double work_ = 0.0, seconds_ = 0.0;
  std::optional<double> held_out_joined_at_;
  Depths shown_;
  std::vector<OrderedJson> epochs_;
  OrderedJson growth_ = OrderedJson::array(), decisions_ = OrderedJson::array(), networks_ = OrderedJson::array();
};

}  // namespace

nlohmann::ordered_json run_story(const std::vector<nlohmann::json>& events) {
  require(!events.empty(), "the journal is empty: the run has not begun");
  try {
    Teller teller(events.front());
    for (const Json& event : events) teller.hear(event);
    return teller.story();
  } catch (const nlohmann::json::exception& error) {
    fail("the journal holds an event that is not what this program writes: ", error.what());
  }
}

namespace {

/// The network that the run began with, at other depths.
Architecture at_depths(const nlohmann::json& begun, const std::vector<std::int64_t>& depths) {
  Architecture architecture = Architecture::from_json(begun.dump());
  require(architecture.stages.size() == depths.size(), "[report] expected ", architecture.stages.size(),
          " stages, got ", depths.size());
  for (std::size_t stage = 0; stage < depths.size(); ++stage) {
    std::vector<std::int64_t>& blocks = architecture.stages[stage].blocks;
    blocks.clear();
    for (std::int64_t block = 0; block < depths[stage]; ++block) blocks.push_back(block);
    architecture.stages[stage].given_away = 0;
  }
  architecture.check();
  return architecture;
}

}  // namespace

std::optional<Architecture> architecture_in(const nlohmann::json& start, const std::vector<std::int64_t>& depths) {
  if (start.contains("architecture")) {
    try {
      return at_depths(start["architecture"], depths);
    } catch (const Error&) {
      return {};
    }
  }
  const std::string data = start.value("data", ""), variant = start.value("variant", "standard");
  // Every description of a data set ends like that (datasets/dataset.h).
  const std::size_t classes_end = data.rfind(" classes, ");
  const std::size_t classes_begin = classes_end == std::string::npos ? classes_end : data.rfind(' ', classes_end - 1);
  if (classes_begin == std::string::npos || depths.empty()) return {};
  long long classes = 0, height = 0, width = 0;
  if (std::sscanf(data.c_str() + classes_begin, " %lld classes, %lldx%lld", &classes, &height, &width) != 3) return {};
  try {
    Architecture architecture = Architecture::of_depths(depths, variant_from(variant));
    architecture.classes = classes;
    architecture.height = height;
    architecture.width = width;
    architecture.check();
    return architecture;
  } catch (const Error&) {
    return {};
  }
}

nlohmann::ordered_json known_networks() {
  struct Known {
    const char *name, *group;
    Depths blocks;
    Variant variant;
    double accuracy;
  };
  constexpr const char *he = "He et al. 2016", *paper = "the paper's networks";
  const std::vector<Known> all = {{"ResNet-20", he, {3, 3, 3}, Variant::standard, 0.9125},
                                  {"ResNet-32", he, {5, 5, 5}, Variant::standard, 0.9249},
                                  {"ResNet-44", he, {7, 7, 7}, Variant::standard, 0.9283},
                                  {"ResNet-56", he, {9, 9, 9}, Variant::standard, 0.9303},
                                  {"ResNet-110", he, {18, 18, 18}, Variant::standard, 0.9357},
                                  {"iteration 1", paper, {6, 8, 6}, Variant::paper, 0.9338},
                                  {"iteration 2", paper, {8, 10, 6}, Variant::paper, 0.9336},
                                  {"iteration 3", paper, {10, 12, 6}, Variant::paper, 0.9337},
                                  {"iteration 4", paper, {10, 12, 8}, Variant::paper, 0.9364},
                                  {"iteration 5", paper, {10, 14, 8}, Variant::paper, 0.9426}};
  OrderedJson list = OrderedJson::array();
  for (const Known& known : all) {
    const Cost cost = cost_of(Architecture::of_depths(known.blocks, known.variant)).total();
    list.push_back({{"name", known.name},
                    {"group", known.group},
                    {"blocks", join(known.blocks)},
                    {"accuracy", known.accuracy},
                    {"parameters", cost.parameters()},
                    {"macs", cost.macs}});
  }
  return list;
}

}  // namespace stagewise
