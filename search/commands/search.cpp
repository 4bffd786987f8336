#include "search/commands/commands.h"
#include "search/commands/options.h"

namespace stagewise {

Command add_search(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "search", "Grow a network within a budget of work: train, insert blocks, keep those that pay, train on");
  const auto settings = std::make_shared<Settings>();
  settings->blocks = "1,1,1";
  settings->search.training.epochs = 24;
  add_run_options(*command, *settings);
  add_data_options(*command, *settings);
  add_split_options(*command, *settings);
  add_network_options(*command, *settings, "--start");
  add_budget_options(*command, *settings);
  add_growth_options(*command, *settings);
  add_training_options(*command, *settings);
  add_device_options(*command, *settings);
  return {.app = command, .run = [command, settings] { run_search(*command, *settings, "search"); }};
}

}  // namespace stagewise
