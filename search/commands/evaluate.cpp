#include <iostream>

#include "search/commands/commands.h"
#include "search/commands/open_model.h"
#include "search/results.h"
#include "search/run/device.h"
#include "search/run/progress.h"
#include "search/run/text.h"
#include "search/training/predictions.h"

namespace stagewise {

namespace {

struct EvaluateOptions {
  Settings settings;
  std::string model;
  std::string variant;      // empty: what the file holds
  std::string predictions;  // where to write what is said of each image; empty: nowhere
};

void run_evaluate(CLI::App& command, EvaluateOptions& options) {
  Settings& settings = options.settings;
  take_options_of(command, options.model);
  Progress progress(settings.quiet);
  const std::unique_ptr<Backend> backend = open_backend(settings.device);
  const auto [model, dataset, normalisation] =
      open_model(command, settings, options.model, options.variant, /*read_train=*/false, *backend, progress);
  const Images test = dataset.load_test ? dataset.load_test() : Images{};
  require(test.count() > 0, "[evaluate] `", settings.data.data, "` has no test set");
  const ImageStore images(*backend, test, static_cast<std::int64_t>(dataset.classes.size()), normalisation,
                          feature_map_type(settings.device, *backend));
  const PassCallback callback = [&](const PassProgress& pass) { progress.pass("test set", pass); };
  PassResult result;
  if (options.predictions.empty()) {
    result = evaluate(*model.network, images, all_indices(images.count()), callback);
  } else {
    const Predictions predictions =
        predict_all(InferenceNetwork(*model.network), images, all_indices(images.count()), callback);
    write_predictions(options.predictions, predictions);
    result = predictions.result();
  }
  std::cout << "loss " << fixed(result.loss, 4) << '\n'
            << right_of(result) << " (" << percent(result.accuracy()) << ")\n";
}

}  // namespace

Command add_evaluate(CLI::App& program) {
  CLI::App* command = program.add_subcommand("evaluate", "Count a network's right answers on the test set");
  const auto options = std::make_shared<EvaluateOptions>();
  command->add_option("model", options->model, "A run's folder or a .safetensors file")
      ->required()
      ->configurable(false);
  command->add_option("--variant", options->variant, "standard or paper: refuse a file of the other one")
      ->configurable(false);
  command
      ->add_option("--predictions", options->predictions,
                   "Write what the network says of each test image to this file: "
                   "image,label,predicted,probability,loss,confidence")
      ->configurable(false);
  add_data_options(*command, options->settings);
  add_device_options(*command, options->settings);
  return {.app = command, .run = [command, options] { run_evaluate(*command, *options); }};
}

}  // namespace stagewise
