// What `search` and `train` share: a run from its first epoch, or from where it stopped, to its results.
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <optional>

#include "layers/presets.h"
#include "search/calibrate.h"
#include "search/commands/config_file.h"
#include "search/commands/options.h"
#include "search/report/tensorboard.h"
#include "search/results.h"
#include "search/run/device.h"
#include "search/run/interrupt.h"
#include "search/run/progress.h"
#include "search/run/terminal.h"
#include "search/run/text.h"
#include "tensor/atomic_file.h"

namespace stagewise {

namespace {

/// Puts everything into the new run's folder that it takes to go on. What can't begin leaves nothing behind. The copy of
/// the plans is what config.toml names from now on, so that the run repeats whatever is tuned later.
std::unique_ptr<SearchRun> begin(CLI::App& command, const std::string& name, const Settings& settings, Backend& backend,
                                 const Plans& plans, const RunData& data, RunDirectory& run, Progress& progress) {
  try {
    if (plans.file) write_file_atomically(run.plans(), plans.file->to_json());
    const std::string copy = plans.file ? std::filesystem::absolute(run.plans()).lexically_normal().string() : "none";
    if (backend.name() == "cuda") set_option(command, "--plans", copy);
    write_file_atomically(run.config(), config_text(command, name));
    return std::make_unique<SearchRun>(backend, data, settings.search_options(), run, progress);
  } catch (...) {
    run.discard();
    throw;
  }
}

/// A run that goes on has the plans that it began with: its own copy, wherever its folder is now.
void take_own_plans(const RunDirectory& run, Settings& settings) {
  settings.device.plans = RunDirectory::holds_file(run.plans()) ? run.plans() : "none";
  if (!settings.search.any_device || settings.device.plans == "none") return;
  try {
    find_plans(settings.device);
  } catch (const Error& error) {
    complain(error.what());
    settings.device.plans = "none";
  }
}

/// A preset's depths and style, and its size of images where none was given; as if the person had given them.
void take_preset(CLI::App& command, const Settings& settings) {
  const Architecture found = preset(settings.network);
  take_network(command, found, settings.blocks_option, "[--network] " + settings.network + " is");
  if (command.get_option("--image-size")->count() == 0) {
    set_option(command, "--image-size", std::to_string(found.height));
  }
}

/// --hours becomes --work, as if the person had given that.
void take_hours(CLI::App& command, Settings& settings, Backend& backend, const RunData& data, Progress& progress) {
  const Calibration calibration = calibrate(backend, data, settings.search_options(), settings.hours);
  progress.line("Calibrated: " + calibration.text);
  set_option(command, "--work", std::to_string(calibration.work));
}

/// The run's images. Where nothing would be decided on held-out images, none are held out.
RunData open_data(CLI::App& command, Settings& settings, bool begins, Backend& backend, Progress& progress) {
  const DType maps = feature_map_type(settings.device, backend);
  const Variant variant = settings.search_options().variant;
  DataOptions wanted = settings.data_options();
  const Dataset dataset = open_announced(wanted, progress.listener());
  std::optional<RunData> data = run_data_of(backend, dataset, wanted, variant, maps, progress.listener());
  if (begins && settings.hours > 0.0) take_hours(command, settings, backend, *data, progress);
  const SearchOptions options = settings.search_options();
  if (!data->held_out_may_join() || !options.join_held_out || needs_held_out(options, *data)) return std::move(*data);
  progress.line("  nothing is decided on held-out images, so all are trained on");
  wanted.validation = 0.0;
  data.reset();  // before its images are there once more
  return run_data_of(backend, dataset, wanted, variant, maps);
}

void show_results(const RunDirectory& run) {
  std::cout << '\n'
            << painted(read_file(run.summary()), STDOUT_FILENO) << '\n'
            << how_to_use(run.path(), RunDirectory::holds_file(run.test_predictions())) << std::flush;
}

/// Of a run that is done. If it was killed before its page was written, it gets that now.
void show_again(const RunDirectory& run, const Settings& settings, const SearchState& state) {
  if (!RunDirectory::holds_file(report_file(run.path()))) {
    Progress progress(settings.quiet);
    const std::unique_ptr<Backend> backend = open_backend(settings.device);
    write_report_at_end({.path = run.path(), .data = settings.data_options()}, state.seconds, *backend,
                        {.feature_maps = feature_map_type(settings.device, *backend)}, progress);
  }
  show_results(run);
}

}  // namespace

void run_search(CLI::App& command, Settings& settings, const std::string& name) {
  const std::string resumed = settings.resumed();
  // Options that the command line left open may come from files.
  if (!settings.config.empty()) apply_config(command, settings.config);
  std::optional<RunDirectory> run;
  if (!resumed.empty()) {
    run = RunDirectory::resume(resumed);
    apply_resumed_config(command, run->config());
    take_own_plans(*run, settings);
  }
  if (!settings.network.empty()) take_preset(command, settings);
  settings.search_options();  // says what is wrong with it before any data is read
  std::optional<CheckpointFile> saved;
  if (run) {
    saved = read_checkpoint(run->checkpoint());
    if (saved->state.phase == Phase::finished) {
      if (settings.tensorboard && !std::filesystem::exists(TensorBoard::folder(run->path())))
        complain("this run is finished; for TensorBoard: stagewise report " + run->path() + " --tensorboard");
      return show_again(*run, settings, saved->state);
    }
  } else {
    RunDirectory::check_free(settings.out);
  }

  Progress progress(settings.quiet);
  const Plans plans = find_plans(settings.device);
  const std::unique_ptr<Backend> backend = open_backend(settings.device, plans);
  progress.line("Device: " + backend->description() + (plans.file ? " in " + plans.path : ""));
  const RunData data = open_data(command, settings, !saved, *backend, progress);
  const SearchOptions options = settings.search_options();
  architecture_of(options, data, options.start);  // says what is wrong with it before anything is written
  catch_interrupts();
  if (!run) run = RunDirectory::create(settings.out, name);
  const auto search = saved ? std::make_unique<SearchRun>(*backend, data, options, *run, progress, std::move(saved))
                            : begin(command, name, settings, *backend, plans, data, *run, progress);
  // What may change on the way.
  if (!resumed.empty()) write_file_atomically(run->config(), config_text(command, name));
  const std::int64_t passes = search->state().passes;
  progress.line("Run: " + run->path() + (resumed.empty() ? "" : ", " + counted(passes, "epoch") + " done"));
  std::optional<TensorBoard> board;
  if (settings.tensorboard) {
    board.emplace(run->path());
    progress.line("To watch it: tensorboard --logdir " + TensorBoard::folder(run->path()));
  }
  try {
    while (search->step()) {
      if (board) board->catch_up();
    }
  } catch (const Interrupted&) {
    progress.line("");
    std::cerr << "Stopped in epoch " << search->state().passes + 1
              << "; everything up to here is saved. Go on with:\n  "
              << "stagewise " << name << " --resume " << run->path() << '\n';
    throw;
  }
  ReportOptions report{.feature_maps = feature_map_type(settings.device, *backend)};
  report.on_evidence = [&](const ReportedRun&, const Evidence& evidence) {
    if (board) board->add_mistakes(evidence, report.pictures);
  };
  write_report_at_end({.path = run->path(), .data = settings.data_options()}, search->state().seconds, *backend, report,
                      progress);
  show_results(*run);
}

}  // namespace stagewise
