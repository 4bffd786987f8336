#include "search/search_state.h"

#include <nlohmann/json.hpp>

#include "search/run/whole_numbers.h"
#include "tensor/error.h"

namespace stagewise {

NLOHMANN_JSON_SERIALIZE_ENUM(Phase,
                             {{Phase::train, "train"}, {Phase::searched, "searched"}, {Phase::finished, "finished"}})

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PassPosition, pass, batch, images, loss_sum, right)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DataFingerprint, classes, counts, held_out, height, width, channels, digest)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ScheduleSpan, begin, end)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SearchState, phase, work, looking, stretch_end, schedule, position, steps,
                                   images_seen, passes, held_out_joined, round, models, network_seed, on_trial,
                                   trial_began, scores, train_accuracy, validation_accuracy, validation_loss, validated,
                                   kept_earlier, best_validation, rate_factor, data, arithmetic, seconds, joules,
                                   joules_seconds, strategy_memory, stop_reason, journal_bytes)

namespace {

/// Throws where `like` has a whole number, or a list of them, and `json` one that isn't.
void check_whole_numbers(const nlohmann::json& json, const nlohmann::json& like) {
  for (const auto& [key, value] : like.items()) {
    const auto found = json.find(key);
    if (found == json.end()) continue;  // which is told of later
    if (value.is_object()) check_whole_numbers(*found, value);
    const bool whole = value.is_number_integer() || (value.is_array() && key != "scores");
    require(!whole || is_whole(*found), "the checkpoint's state has for `", key,
            "` a number that nothing in it reaches: ", found->dump());
  }
}

}  // namespace

std::string SearchState::to_json() const { return nlohmann::json(*this).dump(); }

SearchState SearchState::from_json(const std::string& text) {
  try {
    nlohmann::json json = nlohmann::json::parse(text);
    check_whole_numbers(json, SearchState());
    for (const char* key : {"joules", "joules_seconds"}) json.emplace(key, 0.0);  // earlier versions counted none
    SearchState state = json.get<SearchState>();
    require(state.data.counts.size() == state.data.classes.size(), "the checkpoint's state counts ",
            state.data.counts.size(), " classes and names ", state.data.classes.size());
    for (const std::int64_t count :
         {state.work, state.looking, state.stretch_end, state.position.pass, state.position.batch,
          state.position.images, state.position.right, state.steps, state.images_seen, state.passes, state.round,
          state.models, state.trial_began, state.journal_bytes}) {
      require(count >= 0, "the checkpoint's state has a count below 0: ", count);
    }
    return state;
  } catch (const nlohmann::json::exception& error) {
    fail("the checkpoint's state is not what this version writes: ", error.what());
  }
}

}  // namespace stagewise
