// What a run came to, from the files in its folder.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "layers/architecture.h"

namespace stagewise {

/// The journal's events, in their order; a last line that was cut off by a kill is none. Errors: throws Error, with the
/// line, for anything else.
std::vector<nlohmann::json> read_journal(const std::string& path);
/// The same of a journal's contents; `path` is what errors call it.
std::vector<nlohmann::json> parse_journal(std::string_view contents, const std::string& path);

struct FinishedRun {
  std::string path;
  std::vector<std::int64_t> blocks;     // of each stage
  std::optional<double> test_accuracy;  // shares of 1; none where there were no such images
  std::optional<double> validation_accuracy;
  std::optional<std::int64_t> parameters, macs;  // running statistics count; MACs for one image
  std::optional<double> work;                    // multiply-accumulates; see below
  std::optional<double> seconds;
  std::string data, program;  // what was trained on, in words, and what trained it; empty where the journal doesn't say
};

/// The run in the folder `path`; nothing when it isn't finished (or there is none). A run is finished when its
/// journal's last event says so. What that event lacks is derived where it can be: parameters and MACs from
/// architecture.json, the work from the epochs: the multiply-accumulates of a forward pass for every image trained on,
/// and, as a step costs three forward passes, a third of that for every validation image. Scoring is not in it.
/// Errors: throws Error, with the line, when the journal can't be read.
std::optional<FinishedRun> read_run(const std::string& path);
/// The same of the events of `journal`, and the architecture where it is known; `path` stays empty.
std::optional<FinishedRun> finished_run_in(const std::vector<nlohmann::json>& events, const std::string& journal,
                                           const std::optional<Architecture>& architecture);

/// What became of the images that a run held out.
enum class HeldOutImages { none, joined_the_training, never_trained_on };

/// From the journal of the run in the folder `path`; nothing where there is no journal. Errors: as read_run().
std::optional<HeldOutImages> held_out_images_of(const std::string& path);

/// The file in a run's folder that holds what its network said of each test image.
std::string predictions_file(const std::string& run);

}  // namespace stagewise
