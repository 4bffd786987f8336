// `stagewise sweep`: the runs of an experiment, each a process of its own, so that none can disturb another.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <iostream>
#include <thread>

#include "search/commands/commands.h"
#include "search/commands/config_file.h"
#include "search/commands/sweep_file.h"
#include "search/report/statistics.h"
#include "search/report/sweep_table.h"
#include "search/run/child_process.h"
#include "search/run/directory.h"
#include "search/run/interrupt.h"
#include "search/run/progress.h"
#include "search/run/text.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace stagewise {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

struct SweepOptions {
  std::string file, out, data;
  int jobs = 1;
  bool quiet = false;
};

bool has_checkpoint(const SweepRun& run) { return RunDirectory::holds_file(run.path + "/checkpoint.safetensors"); }

/// Parses the run's options as its command would, without running it; and against those of a run that is there.
void check(const SweepRun& run, const std::string& file) {
  CLI::App program("", "stagewise");
  program.option_defaults()->always_capture_default();
  const Command made = run.command == "train" ? add_train(program) : add_search(program);  // keeps the settings
  CLI::App& command = *made.app;
  const std::string where = concat("`", file, "`, arm `", run.arm, "`: ");
  for (const auto& [name, value] : run.options) {
    require(name != "seed", where, "`seed` goes into seeds = [", value, "]");
    const CLI::Option* option = command.get_option_no_throw("--" + name);
    require(option != nullptr && option->get_configurable(), where, "`", name, "` is no option of `stagewise ",
            run.command, "` that a sweep can set (see --help)");
  }
  try {
    std::vector<std::string> arguments = run.arguments();
    arguments.insert(arguments.begin(), run.command);
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    program.parse(arguments);
  } catch (const CLI::ParseError& error) {
    fail(where, error.what());
  }
  if (has_checkpoint(run)) apply_resumed_config(command, run.path + "/config.toml");
}

class SweepRunner {
 public:
  SweepRunner(Sweep sweep, int jobs, bool quiet)
      : sweep_(std::move(sweep)), jobs_(jobs), progress_(quiet || isatty(STDERR_FILENO) == 0) {
    read_rows();
    for (const SweepRun& run : sweep_.runs) {
      if (!finished(run)) waiting_.push_back(&run);
    }
    done_ = sweep_.runs.size() - waiting_.size();
    progress_.line(
        concat("Sweep: ", sweep_.out, ", ", counted(std::ssize(sweep_.runs), "run"), ", ", done_, " of them done"));
  }

  /// All that are not finished yet. Errors: throws Interrupted; the runs have saved and stopped by then.
  void run() {
    try {
      while (!waiting_.empty() || !active_.empty()) {
        while (active_.size() < static_cast<std::size_t>(jobs_) && !waiting_.empty()) start_next();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        stop_if_interrupted();
        collect();
        progress_.status(status());
      }
    } catch (const Interrupted&) {
      progress_.line("Stopping: the runs save where they stand.");
      for (Active& active : active_) active.process->ask_to_stop();
      active_.clear();
      throw;
    }
  }

  const std::vector<std::string>& failures() const { return failures_; }

  /// Of the runs that are finished.
  const std::vector<SweepRow>& rows() const { return rows_; }

 private:
  struct Active {
    const SweepRun* run;
    std::unique_ptr<ChildProcess> process;
    Clock::time_point began;
  };

  static std::optional<FinishedRun> finished(const SweepRun& run) { return read_run(run.path); }

  void read_rows() {
    rows_.clear();
    for (const SweepRun& run : sweep_.runs) {
      if (const auto record = finished(run)) rows_.push_back({.arm = run.arm, .seed = run.seed, .run = *record});
    }
  }

  void start_next() {
    const SweepRun& run = *waiting_.front();
    waiting_.pop_front();
    fs::create_directories(fs::path(run.path).parent_path());
    // The options once more where it resumes: then it refuses those that have changed.
    std::vector<std::string> arguments = run.arguments();
    arguments.insert(arguments.begin(), {run.command, has_checkpoint(run) ? "--resume" : "--out", run.path, "--quiet"});
    active_.push_back(
        {.run = &run, .process = std::make_unique<ChildProcess>(arguments, run.path + ".log"), .began = Clock::now()});
  }

  void collect() {
    for (auto active = active_.begin(); active != active_.end();) {
      const auto code = active->process->exit_code();
      if (!code) {
        ++active;
        continue;
      }
      const SweepRun& run = *active->run;
      active = active_.erase(active);
      last_status_ = {};
      const auto record = *code == 0 ? finished(run) : std::nullopt;
      if (record) {
        ++done_;
        read_rows();
        progress_.line(concat(run.name(), "  ", join(record->blocks), "  ",
                              record->test_accuracy ? percent(*record->test_accuracy) : "no test set", "  ", done_,
                              " of ", sweep_.runs.size(), " done"));
        write_file_atomically(sweep_.out + "/sweep.csv", sweep_csv(rows_));
      } else {
        failures_.push_back(concat(run.name(), " (exit code ", *code, "): ", run.path, ".log says why"));
        progress_.line("Failed: " + failures_.back());
      }
    }
  }

  /// Seconds that a run of the arm takes, by those that are finished; of all arms where none of its own is.
  std::optional<double> expected_seconds(const std::string& arm) const {
    std::vector<double> own, all;
    for (const SweepRow& row : rows_) {
      if (!row.run.seconds) continue;
      all.push_back(*row.run.seconds);
      if (row.arm == arm) own.push_back(*row.run.seconds);
    }
    if (all.empty()) return {};
    return sample_of(own.empty() ? all : own).mean;
  }

  std::string status() {
    if (Clock::now() - last_status_ < std::chrono::seconds(1)) return status_;
    last_status_ = Clock::now();
    status_ = concat(done_, " of ", sweep_.runs.size(), " done");
    double left = 0.0;
    bool known = true;
    const auto add = [&](const SweepRun& run, double elapsed) {
      const auto seconds = expected_seconds(run.arm);
      known = known && seconds.has_value();
      left += std::max(0.0, seconds.value_or(0.0) - elapsed);
    };
    for (const Active& active : active_) {
      const double elapsed = std::chrono::duration<double>(Clock::now() - active.began).count();
      status_ += "  " + active.run->name() + " for " + duration(elapsed);
      add(*active.run, elapsed);
    }
    for (const SweepRun* run : waiting_) add(*run, 0.0);
    status_ += known ? "  about " + duration(left / jobs_) + " left" : "  time left: known after the first run";
    return status_;
  }

  const Sweep sweep_;
  const int jobs_;
  Progress progress_;
  std::deque<const SweepRun*> waiting_;
  std::vector<Active> active_;
  std::vector<std::string> failures_;
  std::vector<SweepRow> rows_;
  std::size_t done_ = 0;
  Clock::time_point last_status_;
  std::string status_;
};

void run_sweep(const SweepOptions& options) {
  Sweep sweep = read_sweep(options.file, options.out, options.data);
  for (const SweepRun& run : sweep.runs) check(run, options.file);
  const std::string out = sweep.out;
  catch_interrupts();
  SweepRunner runner(std::move(sweep), options.jobs, options.quiet);
  try {
    runner.run();
  } catch (const Interrupted&) {
    std::cerr << "Stopped. The same command goes on where the runs stand:\n  stagewise sweep " << options.file
              << (options.out.empty() ? "" : " --out " + options.out)
              << (options.data.empty() ? "" : " --data " + options.data) << '\n';
    throw;
  }
  const std::vector<SweepRow> rows = runner.rows();
  if (!rows.empty()) {
    write_file_atomically(out + "/sweep.csv", sweep_csv(rows));
    std::cout << sweep_text(rows) << "\nAll digits: " << out << "/sweep.csv\n" << std::flush;
  }
  if (runner.failures().empty()) return;
  std::string text = concat(runner.failures().size(), " of the runs failed:");
  for (const std::string& failure : runner.failures()) text += "\n  " + failure;
  throw std::runtime_error(text);
}

}  // namespace

Command add_sweep(CLI::App& program) {
  CLI::App* command = program.add_subcommand("sweep", "Run an experiment's configurations with several seeds");
  const auto options = std::make_shared<SweepOptions>();
  command->add_option("file", options->file, "A TOML file: out, seeds, [common] options and [arms.NAME]")->required();
  command->add_option("--out", options->out, "Folder for the runs, instead of the file's");
  command->add_option("--data", options->data, "What all runs are trained on, instead of the file's");
  command->add_option("--jobs", options->jobs, "How many runs at once, for a device that one run leaves idle")
      ->check(CLI::Range(1, 64));
  command->add_flag("--quiet", options->quiet, "Print the result only");
  return {.app = command, .run = [options] { run_sweep(*options); }};
}

}  // namespace stagewise
