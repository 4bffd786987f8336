// The program: reads the command line, runs a command, and turns what goes wrong into an exit code.
#include <iostream>

#include "search/commands/commands.h"
#include "search/commands/config_file.h"
#include "search/run/interrupt.h"
#include "tensor/error.h"

namespace {

enum ExitCode { kDone = 0, kFailed = 1, kUsersMistake = 2, kInterrupted = 130 };

/// Options that the command line left open may come from --config or from the run that --resume names.
void read_config_files(CLI::App& command) {
  const auto given = [&](const char* name) {
    const CLI::Option* option = command.get_option_no_throw(name);
    return option != nullptr && option->count() > 0 ? option->as<std::string>() : std::string();
  };
  if (const std::string config = given("--config"); !config.empty()) stagewise::apply_config(command, config);
  if (const std::string run = given("--resume"); !run.empty()) {
    stagewise::apply_resumed_config(command, run + "/config.toml");
  }
}

int run(int argc, char** argv) {
  CLI::App program("Grows residual networks while they train: a stage-wise architecture search.", "stagewise");
  program.require_subcommand(1);
  program.option_defaults()->always_capture_default();
  program.set_version_flag("--version", "stagewise 0.1.0");
  const std::vector<stagewise::Command> commands = {stagewise::add_search(program),   stagewise::add_train(program),
                                                    stagewise::add_evaluate(program), stagewise::add_predict(program),
                                                    stagewise::add_describe(program), stagewise::add_devices(program),
                                                    stagewise::add_sweep(program),    stagewise::add_compare(program)};
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? kDone : kUsersMistake;
  }
  for (const stagewise::Command& command : commands) {
    if (!command.app->parsed()) continue;
    read_config_files(*command.app);
    command.run();
  }
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const stagewise::Interrupted&) {
    return kInterrupted;
  } catch (const stagewise::Error& error) {
    std::cerr << "stagewise: " << error.what() << '\n';
    return kUsersMistake;
  } catch (const std::exception& error) {
    std::cerr << "stagewise: " << error.what() << '\n';
    return kFailed;
  }
}
