#include "search/report/finished_run.h"

#include <numeric>
#include <set>
#include <sstream>

#include "layers/cost.h"
#include "search/run/directory.h"
#include "search/run/whole_numbers.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace stagewise {

using Json = nlohmann::json;

namespace {

/// Whether what counts is whole, in the event and in all that it holds.
bool counts_are_whole(const Json& event) {
  static const std::set<std::string> counts = {"round", "new", "number", "blocks", "blocks_before", "blocks_after"};
  for (const auto& [key, value] : event.items()) {
    if (value.is_structured() && !counts_are_whole(value)) return false;
    if (event.is_object() && counts.contains(key) && !is_whole(value)) return false;
  }
  return true;
}

}  // namespace

std::vector<Json> read_journal(const std::string& path) { return parse_journal(read_file(path), path); }

std::vector<Json> parse_journal(std::string_view contents, const std::string& path) {
  std::istringstream lines{std::string(contents)};
  std::vector<Json> events;
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const Json event = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (lines.eof() && event.is_discarded()) break;
    require(event.is_object() && event.contains("event"), "`", path, "`, line ", number,
            ": expected an event as a JSON object, got `", line, "`");
    require(counts_are_whole(event), "`", path, "`, line ", number, ": expected counts that are whole, got `", line,
            "`");
    events.push_back(event);
  }
  return events;
}

namespace {

template <class T>
std::optional<T> number_in(const Json& event, const char* key) {
  const auto found = event.find(key);
  if (found == event.end() || !(std::is_integral_v<T> ? found->is_number_integer() : found->is_number())) return {};
  return found->get<T>();
}

std::string text_in(const Json& event, const char* key) {
  const auto found = event.find(key);
  return found != event.end() && found->is_string() ? found->get<std::string>() : "";
}

/// The run's architecture, or nothing where it can't be read: then its costs are unknown, and that is all.
std::optional<Architecture> architecture_of(const std::string& path) {
  if (!RunDirectory::holds_file(path)) return {};
  try {
    return Architecture::from_json(read_file(path));
  } catch (const Error&) {
    return {};
  }
}

/// `frame` with other depths.
std::optional<Architecture> with_depths(Architecture frame, const std::vector<std::int64_t>& depths) {
  if (depths.size() != frame.stages.size()) return {};
  for (std::size_t stage = 0; stage < depths.size(); ++stage) {
    if (depths[stage] < 1 || depths[stage] > kMaxDepth) return {};
    frame.stages[stage].blocks.resize(static_cast<std::size_t>(depths[stage]));
    std::iota(frame.stages[stage].blocks.begin(), frame.stages[stage].blocks.end(), 0);
  }
  return frame;
}

std::optional<double> work_of(const std::vector<Json>& events, const Architecture& frame) {
  const auto images = number_in<double>(events.front(), "training_images");
  const double validation = number_in<double>(events.front(), "validation_images").value_or(0.0);
  if (!images) return {};
  double work = 0.0;
  for (const Json& event : events) {
    if (event.at("event") != "epoch") continue;
    const auto network = with_depths(frame, event.value("blocks", std::vector<std::int64_t>{}));
    if (!network) return {};
    work += static_cast<double>(cost_of(*network).total().macs) * (*images + validation / 3.0);
  }
  return work > 0.0 ? std::optional(work) : std::nullopt;
}

std::optional<FinishedRun> told_by(const std::vector<Json>& events, const std::string& journal,
                                   const std::optional<Architecture>& architecture) {
  if (events.empty() || events.back().at("event") != "finished") return {};
  const Json& finished = events.back();
  require(finished.contains("blocks"), "`", journal, "`, last line: expected the network's `blocks`");
  FinishedRun run{.path = "", .blocks = finished.at("blocks").get<std::vector<std::int64_t>>()};
  run.test_accuracy = number_in<double>(finished, "test_accuracy");
  run.validation_accuracy = number_in<double>(finished, "validation_accuracy");
  if (number_in<std::int64_t>(events.front(), "validation_images") == 0) run.validation_accuracy.reset();
  run.parameters = number_in<std::int64_t>(finished, "parameters");
  run.macs = number_in<std::int64_t>(finished, "macs");
  run.work = number_in<double>(finished, "work");
  run.seconds = number_in<double>(finished, "seconds");
  run.data = text_in(events.front(), "data");
  run.program = text_in(events.front(), "program");
  if (architecture) {
    const Cost cost = cost_of(*architecture).total();
    if (!run.parameters) run.parameters = cost.parameters();
    if (!run.macs) run.macs = cost.macs;
    if (!run.work) run.work = work_of(events, *architecture);
  }
  return run;
}

}  // namespace

std::optional<FinishedRun> finished_run_in(const std::vector<Json>& events, const std::string& journal,
                                           const std::optional<Architecture>& architecture) {
  try {
    return told_by(events, journal, architecture);
  } catch (const Json::exception& error) {
    fail("`", journal, "` holds an event that is not what this program writes: ", error.what());
  }
}

std::optional<FinishedRun> read_run(const std::string& path) {
  const std::string journal = path + "/journal.jsonl";
  if (!RunDirectory::holds_file(journal)) return {};
  auto run = finished_run_in(read_journal(journal), journal, architecture_of(path + "/architecture.json"));
  if (run) run->path = path;
  return run;
}

std::optional<HeldOutImages> held_out_images_of(const std::string& path) {
  const std::string journal = path + "/journal.jsonl";
  if (!RunDirectory::holds_file(journal)) return {};
  const std::vector<Json> events = read_journal(journal);
  if (events.empty() || number_in<std::int64_t>(events.front(), "validation_images") == 0) return HeldOutImages::none;
  for (const Json& event : events) {
    if (event.at("event") == "held-out images join the training") return HeldOutImages::joined_the_training;
  }
  return HeldOutImages::never_trained_on;
}

std::string predictions_file(const std::string& run) { return run + "/test_predictions.csv"; }

}  // namespace stagewise
