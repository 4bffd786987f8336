// report.html: one run, or several side by side, on one page that opens anywhere.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "search/report/quality.h"
#include "search/run/progress.h"
#include "search/training/model_file.h"
#include "search/training/run_data.h"

namespace stagewise {

/// A run's folder, and the options that opened its data.
struct ReportedRun {
  std::string path;
  DataOptions data;
};

/// What there still is of a finished run to judge its answers by. `notes` say, in words for people, what is missing.
struct Evidence {
  std::optional<Model> model;
  std::vector<std::string> classes;        // their names; empty where nobody knows them any more
  Images test;                             // none where they can't be read any more
  std::optional<Predictions> predictions;  // of the test images, with confidences where those could be had
  std::vector<std::string> notes;
};

/// A label in words.
std::string class_name(const Evidence& evidence, std::int32_t label);

struct ReportOptions {
  DType feature_maps = DType::float32;
  double latency_seconds = 1.0;  // that each batch size is timed for
  std::size_t pictures = 24;     // of mistakes, over all runs
  std::int64_t disturbed = 0;    // test images to measure robustness on (robustness.h); 0: it isn't
  /// What else is made of each run's evidence, which takes its time to read.
  std::function<void(const ReportedRun&, const Evidence&)> on_evidence = {};
};

/// Reads what is there, and has the network answer anew where its run kept no confidences. What can't be read is noted,
/// not thrown; the test images of a run that isn't finished stay shut.
Evidence evidence_of(const ReportedRun& run, Backend& backend, const ReportOptions& options, Progress& progress);

/// The page. Whatever of a run can be told is on it, whatever can't is named on it. Errors: throws Error for a folder
/// with no journal that can be read, and where the runs are too many for a page of 2 MB.
std::string report_page(const std::vector<ReportedRun>& runs, Backend& backend, const ReportOptions& options,
                        Progress& progress);

/// RUN/report.html.
std::string report_file(const std::string& run);

/// The run's own page, at its end, in its folder. Timing takes at most a fiftieth of the time that the run took, whatever
/// `options` says of it. Never fails: what goes wrong becomes a line on standard error, for the run itself is done and
/// whole.
void write_report_at_end(const ReportedRun& run, double run_seconds, Backend& backend, ReportOptions options,
                         Progress& progress) noexcept;

}  // namespace stagewise
