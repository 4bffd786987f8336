#include "search/commands/commands.h"
#include "search/commands/options.h"
#include "search/training/model_file.h"

namespace stagewise {

void add_train_options(CLI::App& command, Settings& settings) {
  settings.search.strategy = "train";
  settings.data.validation = 0.0;  // nothing is decided here, so every image may teach
  add_run_options(command, settings);
  add_data_options(command, settings);
  add_split_options(command, settings);
  add_network_options(command, settings, "--blocks");
  add_from_option(
      command, settings,
      "Begin with the network and the weights in this run's folder or .safetensors file (and a tenth of the "
      "learning rate, where none is given)");
  add_budget_options(command, settings);
  add_training_options(command, settings);
  add_device_options(command, settings);
}

void run_train(CLI::App& command, Settings& settings) {
  if (!settings.search.from.empty() && settings.resumed().empty()) {
    const Architecture found = load_architecture(settings.search.from);
    take_network(command, found, "--blocks", concat("[--from] `", settings.search.from, "` holds"));
  }
  run_search(command, settings, "train");
}

Command add_train(CLI::App& program) {
  CLI::App* command = program.add_subcommand("train", "Train one network");
  const auto settings = std::make_shared<Settings>();
  add_train_options(*command, *settings);
  return {.app = command, .run = [command, settings] { run_train(*command, *settings); }};
}

}  // namespace stagewise
