#include "search/commands/commands.h"
#include "search/commands/options.h"

namespace stagewise {

Command add_search(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("search", "Grow a network: train, score the stages, probe, grow, train on");
  const auto settings = std::make_shared<Settings>();
  settings->blocks = "2,2,2";
  settings->search.training.epochs = 4;
  add_run_options(*command, *settings);
  add_data_options(*command, *settings);
  add_split_options(*command, *settings);
  add_network_options(*command, *settings, "--start");
  add_growth_options(*command, *settings);
  add_training_options(*command, *settings);
  add_device_options(*command, *settings);
  return {.app = command, .run = [command, settings] { run_search(*command, *settings); }};
}

}  // namespace stagewise
