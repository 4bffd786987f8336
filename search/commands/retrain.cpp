#include "cpu/reference_backend.h"
#include "search/commands/commands.h"
#include "search/commands/config_file.h"
#include "search/commands/options.h"
#include "search/run/directory.h"
#include "search/run/terminal.h"
#include "search/training/model_file.h"

namespace stagewise {

namespace {

struct RetrainOptions {
  Settings settings;
  std::string model;
  bool weights = false;
};

/// What the new training doesn't take over from the run: how long it takes, what hangs on that, and which images are
/// kept from it.
const std::set<std::string> kItsOwn = {"blocks",     "network",      "from",          "epochs",       "work",
                                       "validation", "train-images", "learning-rate", "weight-decay", "rate-factor",
                                       "twin",       "any-device",   "block-kind",    "stem",         "shortcut",
                                       "widths",     "plans"};

void run_retrain(CLI::App& command, RetrainOptions& options) {
  Settings& settings = options.settings;
  if (settings.resumed().empty() && settings.config.empty()) {
    require(!options.model.empty(), "[retrain] expected the run whose network is to be trained");
    for (const char* const option :
         {"--blocks", "--variant", "--from", "--network", "--block-kind", "--stem", "--shortcut", "--widths"}) {
      require(command.get_option(option)->count() == 0, "[retrain] the network is the one in `", options.model,
              "`: ", option, " can't be given (train takes it)");
    }
    const std::string config = options.model + "/config.toml";
    if (RunDirectory::holds_file(config)) apply_config(command, config, UnknownKeys::pass_over, kItsOwn);
    const auto backend = make_reference_backend();
    const Remark remark = options.weights ? Remark() : complain;  // --from reads it once more, and says it then
    const Model model = load_model(*backend, options.model, {}, remark);
    const Architecture& found = model.network->architecture();
    for (const auto& [option, value] : network_options(found, "--blocks")) {
      if (!value.empty()) set_option(command, option, value);
    }
    if (command.get_option("--data")->count() == 0) {
      require(!model.data.empty(), "[retrain] `", options.model,
              "` doesn't say what it was trained on: name the data with --data");
      set_option(command, "--data", model.data);
    }
    if (options.weights) set_option(command, "--from", options.model);
  }
  run_train(command, settings);
}

}  // namespace

Command add_retrain(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("retrain",
                             "Train the network that a run found once more, in a run of its own: from scratch, or on "
                             "from its weights. Data and "
                             "recipe are the run's, but all images are trained on; every option can be given anew");
  const auto options = std::make_shared<RetrainOptions>();
  command->add_option("run", options->model, "A run's folder or a .safetensors file")->configurable(false);
  command
      ->add_flag("--weights", options->weights,
                 "Go on from the weights that the run ended with, at a tenth of the learning rate where none is given; "
                 "without it they are drawn anew")
      ->configurable(false);
  add_train_options(*command, options->settings);
  return {.app = command, .run = [command, options] { run_retrain(*command, *options); }};
}

}  // namespace stagewise
