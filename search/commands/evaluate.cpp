#include <iostream>

#include "search/commands/commands.h"
#include "search/commands/config_file.h"
#include "search/commands/options.h"
#include "search/results.h"
#include "search/run/device.h"
#include "search/run/directory.h"
#include "search/run/progress.h"
#include "search/run/text.h"
#include "search/training/model_file.h"
#include "search/training/predictions.h"

namespace stagewise {

namespace {

struct EvaluateOptions {
  Settings settings;
  std::string model;
  std::string variant;      // empty: what the file holds
  std::string predictions;  // where to write what is said of each image; empty: nowhere
};

void check_classes(const Model& model, const Dataset& dataset) {
  const auto known = static_cast<std::size_t>(model.network->architecture().classes);
  require(known == dataset.classes.size(), "[evaluate] the network knows ", known, " classes, the data has ",
          dataset.classes.size());
  for (std::size_t i = 0; i < model.classes.size(); ++i) {
    require(model.classes[i] == dataset.classes[i], "[evaluate] the network's class ", i, " is `", model.classes[i],
            "`, the data's is `", dataset.classes[i], "`");
  }
}

Dataset open_data(const Model& model, const Settings& settings, Progress& progress) {
  DataOptions options = settings.data_options();
  options.image_size = model.network->architecture().height;
  options.read_train = !model.normalisation;
  Dataset dataset = open_announced(options, progress.listener());
  check_classes(model, dataset);
  return dataset;
}

void run_evaluate(CLI::App& command, EvaluateOptions& options) {
  Settings& settings = options.settings;
  if (const std::string config = options.model + "/config.toml"; RunDirectory::holds_file(config)) {
    apply_config(command, config,
                 UnknownKeys::pass_over);  // the data that the run was trained on, unless told otherwise
  }
  Progress progress(settings.quiet);
  const std::unique_ptr<Backend> backend = open_backend(settings.device);
  const Model model = load_model(*backend, options.model,
                                 options.variant.empty() ? std::nullopt : std::optional(variant_from(options.variant)));
  if (command.get_option("--data")->count() == 0) {
    require(!model.data.empty(), "[evaluate] `", options.model,
            "` doesn't say what it was trained on: name the data with --data");
    settings.data.data = model.data;
  }
  const Dataset dataset = open_data(model, settings, progress);
  const Images test = dataset.load_test ? dataset.load_test() : Images{};
  require(test.count() > 0, "[evaluate] `", settings.data.data, "` has no test set");
  // The paper's files hold no normalisation; it is that of the data's training images.
  const Variant variant = model.network->architecture().variant;
  const ImageStore images(*backend, test, static_cast<std::int64_t>(dataset.classes.size()),
                          model.normalisation ? *model.normalisation : normalisation_of(variant, dataset.train),
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
  std::cout << "loss " << fixed(result.loss, 4) << '\n' << right_of(result) << '\n';
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
      ->add_option(
          "--predictions", options->predictions,
          "Write what the network says of each test image to this file: image,label,predicted,probability,loss")
      ->configurable(false);
  add_data_options(*command, options->settings);
  add_device_options(*command, options->settings);
  return {.app = command, .run = [command, options] { run_evaluate(*command, *options); }};
}

}  // namespace stagewise
