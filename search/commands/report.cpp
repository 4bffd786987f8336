// `stagewise report`: a page about a run, or about several side by side.
#include "search/report/report.h"

#include <iostream>

#include "search/commands/commands.h"
#include "search/commands/open_model.h"
#include "search/report/finished_run.h"
#include "search/report/tensorboard.h"
#include "search/run/device.h"
#include "tensor/atomic_file.h"

namespace stagewise {

namespace {

struct ReportCommand {
  Settings settings;  // of the device
  std::vector<std::string> runs;
  std::string out, data;
  bool robustness = false, tensorboard = false;
};

constexpr std::int64_t kDisturbed = 1000;  // test images: intervals reach 3% each way

/// Anew. Of a run that goes on this is its own process's.
void write_tensorboard(const std::string& run, const Evidence& evidence, std::size_t pictures) {
  require(read_run(run).has_value(), "[--tensorboard] `", run, "` isn't finished: go on with it by --resume ", run,
          " --tensorboard");
  TensorBoard(run).add_mistakes(evidence, pictures);
}

void run_report(const ReportCommand& options) {
  const std::unique_ptr<Backend> backend = open_backend(options.settings.device);
  Progress progress(options.settings.quiet);
  std::vector<ReportedRun> runs;
  for (std::string run : options.runs) {
    while (run.size() > 1 && run.ends_with('/')) run.pop_back();
    Settings settings = settings_of_run(run, {});
    if (!options.data.empty()) settings.data.data = options.data;
    runs.push_back({.path = run, .data = settings.data_options()});
  }
  const std::string one = report_file(runs.front().path);
  const std::string out = !options.out.empty() ? options.out : runs.size() == 1 ? one : "report.html";
  ReportOptions wanted{.feature_maps = feature_map_type(options.settings.device, *backend)};
  if (options.robustness) wanted.disturbed = kDisturbed;
  wanted.on_evidence = [&](const ReportedRun& run, const Evidence& evidence) {
    if (options.tensorboard) write_tensorboard(run.path, evidence, wanted.pictures);
  };
  write_file_atomically(out, report_page(runs, *backend, wanted, progress));
  std::cout << "Written: " << out << "\nIt opens in any browser, also without a network.\n";
}

}  // namespace

Command add_report(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "report", "Write a page about a run: how it grew, what was decided and why, how good and how fast it is");
  const auto options = std::make_shared<ReportCommand>();
  command->add_option("runs", options->runs, "A run's folder, finished or not; several are set side by side")
      ->required();
  command->add_option("--out", options->out, "The page (default: RUN/report.html, of several runs ./report.html)");
  command->add_option("--data", options->data, "Where the data lies now, if not where config.toml says");
  command->add_flag(
      "--robustness", options->robustness,
      "Also how accurate the network stays on 1,000 of the test images with noise, with a part hidden, and "
      "changed to mislead it");
  command->add_flag("--tensorboard", options->tensorboard,
                    "Also write RUN/tensorboard/ of a finished run: tensorboard --logdir RUN/tensorboard");
  add_device_options(*command, options->settings);
  return {.app = command, .run = [options] { run_report(*options); }};
}

}  // namespace stagewise
