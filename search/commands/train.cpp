#include "search/commands/commands.h"
#include "search/commands/options.h"

namespace stagewise {

Command add_train(CLI::App& program) {
  CLI::App* command = program.add_subcommand("train", "Train one network");
  const auto settings = std::make_shared<Settings>();
  settings->search.strategy = "train";
  settings->data.validation = 0.0;  // nothing is decided here, so every image may teach
  add_run_options(*command, *settings);
  add_data_options(*command, *settings);
  add_split_options(*command, *settings);
  add_network_options(*command, *settings, "--blocks");
  add_budget_options(*command, *settings);
  add_training_options(*command, *settings);
  add_device_options(*command, *settings);
  return {.app = command, .run = [command, settings] { run_search(*command, *settings); }};
}

}  // namespace stagewise
