// `stagewise report`: a page about a run, or about several side by side.
#include "search/report/report.h"

#include <iostream>

#include "search/commands/commands.h"
#include "search/commands/config_file.h"
#include "search/commands/options.h"
#include "search/run/device.h"
#include "search/run/directory.h"
#include "tensor/atomic_file.h"

namespace stagewise {

namespace {

struct ReportCommand {
  Settings settings;  // of the device
  std::vector<std::string> runs;
  std::string out, data;
};

/// The run's data, as its config.toml has it.
DataOptions data_of(const std::string& run, const std::string& instead) {
  CLI::App command("", "report");
  command.option_defaults()->always_capture_default();
  Settings settings;
  add_data_options(command, settings);
  const std::string config = run + "/config.toml";
  if (RunDirectory::holds_file(config)) apply_config(command, config, UnknownKeys::pass_over);
  if (!instead.empty()) settings.data.data = instead;
  return settings.data_options();
}

void run_report(const ReportCommand& options) {
  const std::unique_ptr<Backend> backend = open_backend(options.settings.device);
  Progress progress(options.settings.quiet);
  std::vector<ReportedRun> runs;
  for (std::string run : options.runs) {
    while (run.size() > 1 && run.ends_with('/')) run.pop_back();
    runs.push_back({.path = run, .data = data_of(run, options.data)});
  }
  const std::string one = report_file(runs.front().path);
  const std::string out = !options.out.empty() ? options.out : runs.size() == 1 ? one : "report.html";
  const ReportOptions wanted{.feature_maps = feature_map_type(options.settings.device, *backend)};
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
  add_device_options(*command, options->settings);
  return {.app = command, .run = [options] { run_report(*options); }};
}

}  // namespace stagewise
