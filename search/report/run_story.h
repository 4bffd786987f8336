// What happened in a run, as a report tells it: told from the journal alone, so it can be told of a run that goes on,
// was killed, or was written by an earlier version.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "layers/architecture.h"

namespace stagewise {

/// From the journal's events (finished_run.h: read_journal) a JSON object with
///  - `device`, `data`, `seed` and what else the run says of itself at its start, `finished`, and the totals at its end;
///  - `epochs`: a list each of `epoch`, `work`, `loss`, `accuracy`, `rate`, `validation_loss`, `validation_accuracy`
///    (null where there is none), thinned out evenly to at most 500;
///  - `growth`: the networks that there were, in their order: `label`, `work` and for each stage how many blocks were
///    `kept`, are `fresh` and were taken `out`;
///  - `decisions`: for each `title`, `criterion`, `margin`, and for each stage `score`, `lower`, `upper` and the `reason`;
///  - `networks`: `blocks`, `parameters`, `macs`, `accuracy`, and what it was measured on: `test`, `held-out`, `training`.
/// What an event lacks is null, and what rests on it is left out. Errors: throws Error for an empty journal, and for
/// events whose fields are of another kind than events.h writes.
nlohmann::ordered_json run_story(const std::vector<nlohmann::json>& events);

/// The network with these depths that a run of this journal trains, whose costs can be told; nothing where the start
/// event doesn't say for what images.
std::optional<Architecture> architecture_in(const nlohmann::json& start, const std::vector<std::int64_t>& depths);

/// He et al. (2016), table 6, and the networks that the paper released (their accuracies as `stagewise evaluate` counts
/// them), all on CIFAR-10's test set: `name`, `group`, `blocks`, `accuracy`, `parameters`, `macs` (these counted here).
nlohmann::ordered_json known_networks();

}  // namespace stagewise
