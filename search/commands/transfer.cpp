#include "search/commands/commands.h"
#include "search/commands/config_file.h"
#include "search/commands/options.h"
#include "search/training/model_file.h"

namespace stagewise {

namespace {

struct TransferOptions {
  Settings settings;
  std::string model;
  bool grow = false;
};

/// What a new run is made of: the network, and how it is trained where the person left that open.
void take_over(CLI::App& command, TransferOptions& options) {
  const auto given = [&](const char* option) { return command.get_option(option)->count() > 0; };
  require(!options.model.empty(), "[transfer] expected the run whose network is to learn the new images");
  require(given("--data"), "[transfer] expected the new images: --data");
  set_option(command, "--from", options.model);
  take_network(command, load_architecture(options.model), "--blocks", concat("[transfer] `", options.model, "` holds"));
  if (!options.grow && !given("--strategy")) {
    set_option(command, "--strategy", "train");
  } else if (!given("--validation")) {
    set_option(command, "--validation", "0.1");  // which growing needs to measure what it gains
  }
}

void run_transfer(CLI::App& command, TransferOptions& options) {
  Settings& settings = options.settings;
  settings.search.transfer = true;
  if (settings.resumed().empty() && settings.config.empty()) take_over(command, options);
  run_search(command, settings, "transfer");
}

}  // namespace

Command add_transfer(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "transfer",
      "Train the network that a run found on other images: of other classes, and perhaps of another size. Its "
      "classifier is drawn anew and the new images are normalised by their own means; everything else begins with the "
      "weights that it has");
  const auto options = std::make_shared<TransferOptions>();
  Settings& settings = options->settings;
  settings.data.validation = 0.0;
  command->add_option("run", options->model, "A run's folder or a .safetensors file")->configurable(false);
  command
      ->add_flag(
          "--freeze", settings.search.training.freeze_trunk,
          "Only the classifier learns. All before it stays as it is, the batch norms' running means and variances "
          "too, and a step costs a third of the work")
      ->group("Training");
  command
      ->add_flag("--grow", options->grow,
                 "Search on, on the new images: the network grows as search lets it (--strategy stagewise)")
      ->configurable(false)
      ->group("Growth");
  add_run_options(*command, settings);
  add_data_options(*command, settings);
  add_split_options(*command, settings);
  add_network_options(*command, settings, "--blocks");
  add_from_option(*command, settings, "What `run` names, in a file for --config");
  add_budget_options(*command, settings);
  add_growth_options(*command, settings);
  add_training_options(*command, settings);
  add_device_options(*command, settings);
  return {.app = command, .run = [command, options] { run_transfer(*command, *options); }};
}

}  // namespace stagewise
