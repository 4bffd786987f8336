#include "search/events.h"

#include <cmath>
#include <ctime>

#include "layers/cost.h"
#include "search/network_drawing.h"
#include "search/run/text.h"
#include "search/run/version.h"
#include "search/search_run.h"
#include "search/work.h"

namespace stagewise {

using OrderedJson = nlohmann::ordered_json;

namespace {

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

void add_cost(const Architecture& architecture, OrderedJson& line) {
  const Cost cost = cost_of(architecture).total();
  line["parameters"] = cost.parameters();
  line["macs"] = cost.macs;
}

const char* name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::pays: return "pays";
    case Verdict::does_not_pay: return "does not pay";
    case Verdict::toss_up: return "toss-up";
  }
  return "?";
}

}  // namespace

Event start_event(const SearchOptions& options, const RunData& data, const std::string& device, std::int64_t work,
                  const std::string& plan, const std::string& config) {
  const TrainingOptions& training = options.training;
  const OptimiserOptions& optimiser = training.optimiser;
  OrderedJson line = {{"event", "start"},
                      {"program", program_version()},
                      {"device", device},
                      {"data", data.description},
                      {"training_images", data.train.size()},
                      {"validation_images", data.validation.size()},
                      {"blocks", options.start},
                      {"variant", name_of(options.variant)},
                      {"strategy", options.strategy},
                      {"seed", options.seed},
                      {"batch_size", training.batch_size},
                      {"optimiser", name_of(optimiser.kind)},
                      {"learning_rate", training.schedule.peak},
                      {"weight_decay", optimiser.weight_decay},
                      {"work", work},
                      {"plan", plan},
                      {"config", config},
                      {"utc", utc_now()}};
  // Of basic blocks, depths and variant say it all.
  if (options.style != NetworkStyle()) {
    line["architecture"] = OrderedJson::parse(architecture_of(options, data, options.start).to_json());
  }
  return {line, concat("Work: ", work_text(static_cast<double>(work)), ". Plan: ", plan, "\nBatches of ",
                       training.batch_size, ", ", name_of(optimiser.kind), ", learning rate up to ",
                       training.schedule.peak, ", weight decay ", optimiser.weight_decay)};
}

Event rate_changed_event(double factor, double before) {
  return {{{"event", "learning rate changed"}, {"factor", factor}, {"before", before}}, ""};
}

Event held_out_join_event(std::int64_t images) {
  return {{{"event", "held-out images join the training"}, {"images", images}}, ""};
}

Event stop_event(const std::string& reason, std::int64_t work) {
  return {{{"event", "stop"}, {"reason", reason}, {"work", work}}, "Stopped: " + reason + "."};
}

Event test_opened_event(std::int64_t images) {
  return {{{"event", "test set opened"}, {"images", images}, {"utc", utc_now()}}, ""};
}

Event epoch_event(const EndedPass& pass, const SearchState& state) {
  OrderedJson line = {
      {"event", "epoch"},   {"epoch", state.passes}, {"round", state.round},     {"blocks", pass.network.depths()},
      {"work", state.work}, {"rate", pass.rate},     {"loss", pass.result.loss}, {"accuracy", pass.result.accuracy()}};
  if (pass.validated) line["validation_loss"] = state.validation_loss;
  if (pass.validated) line["validation_accuracy"] = state.validation_accuracy;
  line["images_per_second"] = std::round(pass.images_per_second);
  return {line, pass.label + "  loss " + fixed(pass.result.loss, 4) + "  accuracy " + percent(pass.result.accuracy()) +
                    (pass.validated ? "  validation " + percent(state.validation_accuracy) : "") + "  " +
                    with_thousands(std::llround(pass.images_per_second)) + " images/s" +
                    (pass.left.empty() ? "" : "  " + pass.left)};
}

Event insertion_event(const Architecture& network, const SearchState& state,
                      const std::vector<std::vector<std::int64_t>>& numbers, double shrink) {
  std::vector<std::int64_t> fresh;
  for (const auto& stage : numbers) fresh.push_back(std::ssize(stage));
  return {{{"event", "insertion"},
           {"round", state.round},
           {"work", state.work},
           {"blocks", network.depths()},
           {"new", numbers},
           {"shrink", shrink}},
          draw_network(network, {}, fresh)};
}

Event trial_decision_event(const Architecture& after, const SearchState& state, const std::string& criterion,
                           double margin, bool long_enough, const std::vector<StageDecision>& decisions,
                           const std::vector<std::int64_t>& counts) {
  OrderedJson stages = OrderedJson::array();
  std::vector<std::string> notes;
  std::vector<std::int64_t> fresh;
  for (std::size_t stage = 0; stage < decisions.size(); ++stage) {
    const StageDecision& decision = decisions[stage];
    stages.push_back({{"new", counts[stage]},
                      {"score", decision.score.value},
                      {"lower", decision.score.lower},
                      {"upper", decision.score.upper},
                      {"verdict", name_of(decision.verdict)},
                      {"stays", decision.stays},
                      {"reason", decision.reason}});
    notes.push_back(decision.reason);
    fresh.push_back(decision.stays ? counts[stage] : 0);
  }
  OrderedJson line = {{"event", "decision"}, {"round", state.round},          {"criterion", criterion},
                      {"margin", margin},    {"long_enough", long_enough},    {"work", state.work},
                      {"stages", stages},    {"blocks_after", after.depths()}};
  add_cost(after, line);
  return {line, draw_network(after, notes, fresh)};
}

Event score_event(const Architecture& network, const SearchState& state, const std::string& criterion,
                  const std::vector<double>& scores, const std::vector<double>& errors) {
  OrderedJson line = {
      {"event", "score"},       {"round", state.round}, {"work", state.work}, {"blocks", network.depths()},
      {"criterion", criterion}, {"scores", scores},     {"errors", errors}};
  if (state.validated) line["validation_accuracy"] = state.validation_accuracy;  // which network is kept rests on it
  return {line, draw_network(network, score_notes(scores))};
}

Event growth_decision_event(const Architecture& before, const Architecture& after, std::int64_t round,
                            const std::string& criterion, const GrowthRules& rules,
                            const std::vector<GrowthDecision>& decisions) {
  OrderedJson stages = OrderedJson::array();
  std::vector<std::string> notes;
  std::vector<std::int64_t> fresh;
  for (const GrowthDecision& decision : decisions) {
    stages.push_back({{"before", decision.before},
                      {"deeper", decision.deeper},
                      {"rise", decision.rise},
                      {"qualified", decision.qualified},
                      {"grown", decision.grown},
                      {"reason", decision.reason}});
    notes.push_back(decision.reason);
    fresh.push_back(decision.grown ? rules.step : 0);
  }
  OrderedJson line = {{"event", "decision"},
                      {"round", round},
                      {"criterion", criterion},
                      {"step", rules.step},
                      {"margin", rules.margin},
                      {"max_parameters", rules.limits.max_parameters},
                      {"max_macs", rules.limits.max_macs},
                      {"stages", stages},
                      {"blocks_before", before.depths()},
                      {"blocks_after", after.depths()}};
  add_cost(after, line);
  return {line, draw_network(after, notes, fresh)};
}

Event individual_event(std::size_t number, const std::vector<std::int64_t>& depths, double validation_accuracy,
                       std::int64_t work) {
  return {{{"event", "individual"},
           {"number", number},
           {"blocks", depths},
           {"validation_accuracy", validation_accuracy},
           {"work", work}},
          concat("network ", number, ": ", join(depths), ", validation ", percent(validation_accuracy))};
}

Event finished_event(const Architecture& network, const SearchState& state, const std::string& device,
                     const std::optional<PassResult>& tested) {
  OrderedJson line = {{"event", "finished"}, {"blocks", network.depths()}};
  add_cost(network, line);
  line["work"] = state.work;
  line["looking"] = state.looking;
  line["device"] = device;
  line["models"] = state.models;
  line["images_seen"] = state.images_seen;
  if (state.joules_seconds > 0.0) line["joules"] = std::round(state.joules);
  if (state.joules_seconds > 0.0) line["joules_seconds"] = std::round(state.joules_seconds);
  if (state.validated) line["validation_accuracy"] = state.validation_accuracy;
  if (state.validated && !state.kept_earlier) line["validation_loss"] = state.validation_loss;
  if (tested) line["test_right"] = tested->right;
  if (tested) line["test_accuracy"] = tested->accuracy();
  return {line, ""};
}

}  // namespace stagewise
