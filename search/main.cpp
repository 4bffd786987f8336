// The program: reads the command line, runs a command, and turns what goes wrong into an exit code.
#include <fcntl.h>
#include <unistd.h>

#include <iostream>
#include <new>

#include "search/commands/commands.h"
#include "search/run/interrupt.h"
#include "search/run/terminal.h"
#include "search/run/version.h"
#include "tensor/error.h"

namespace {

enum ExitCode { kDone = 0, kFailed = 1, kUsersMistake = 2, kInterrupted = 130 };

constexpr const char* kHowToNeedLess =
    ". A smaller --batch-size, --image-size or number of --threads needs less, and so does --precision bf16";

/// A standard stream that is closed (`2>&-`) would lend its number to the next file that is opened, and what is meant
/// for the stream would land in it.
void open_missing_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // The lowest free number is given, which is this one.
    if (fcntl(stream, F_GETFD) == -1 && open("/dev/null", O_RDWR) != stream) _exit(kFailed);
  }
}

int run(int argc, char** argv) {
  CLI::App program("Grows residual networks while they train: a stage-wise architecture search.", "stagewise");
  program.require_subcommand(1);
  program.option_defaults()->always_capture_default();
  program.set_version_flag("--version", stagewise::program_details);
  const std::vector<stagewise::Command> commands = {
      stagewise::add_search(program),      stagewise::add_train(program),    stagewise::add_retrain(program),
      stagewise::add_transfer(program),    stagewise::add_evaluate(program), stagewise::add_score(program),
      stagewise::add_predict(program),     stagewise::add_describe(program), stagewise::add_tune(program),
      stagewise::add_devices(program),     stagewise::add_sweep(program),    stagewise::add_compare(program),
      stagewise::add_export(program),      stagewise::add_report(program),   stagewise::add_manual(program),
      stagewise::add_completions(program),
  };
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? kDone : kUsersMistake;
  }
  for (const stagewise::Command& command : commands) {
    if (command.app->parsed()) command.run();
  }
  return kDone;
}

/// Runs the program; what goes wrong becomes a line and an exit code.
int guarded_run(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const stagewise::Interrupted&) {
    return kInterrupted;
  } catch (const stagewise::OutOfMemory& error) {
    stagewise::complain(error.what() + std::string(kHowToNeedLess));
    return kFailed;
  } catch (const stagewise::Error& error) {
    stagewise::complain(error.what());
    return kUsersMistake;
  } catch (const std::bad_alloc&) {
    stagewise::complain("out of memory" + std::string(kHowToNeedLess));
    return kFailed;
  } catch (const std::exception& error) {
    stagewise::complain(error.what());
    return kFailed;
  }
}

}  // namespace

int main(int argc, char** argv) {
  open_missing_streams();
  const int code = guarded_run(argc, argv);
  // A reader that has gone (`| head`) ends the program by SIGPIPE, as it does others; a full disk has to be told.
  if (std::cout.flush()) return code;
  stagewise::complain("not all results could be written to standard output");
  return code == kDone ? kFailed : code;
}
