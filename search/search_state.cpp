#include "search/search_state.h"

#include <nlohmann/json.hpp>

#include "tensor/error.h"

namespace stagewise {

NLOHMANN_JSON_SERIALIZE_ENUM(Phase, {{Phase::train, "train"},
                                     {Phase::probe, "probe"},
                                     {Phase::searched, "searched"},
                                     {Phase::finished, "finished"}})

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SearchState, phase, iteration, epoch, first_epoch, models, images_seen, seconds,
                                   network_seed, probe_seed, scores, train_accuracy, validation_accuracy, stop_reason,
                                   journal_bytes)

std::string SearchState::to_json() const { return nlohmann::json(*this).dump(); }

SearchState SearchState::from_json(const std::string& text) {
  try {
    return nlohmann::json::parse(text).get<SearchState>();
  } catch (const nlohmann::json::exception& error) {
    fail("the checkpoint's state is not what this version writes: ", error.what());
  }
}

}  // namespace stagewise
