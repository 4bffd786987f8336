#include "search/commands/open_model.h"

#include "search/commands/config_file.h"
#include "search/run/directory.h"

namespace stagewise {

namespace {

void check_classes(const std::string& command, const Model& model, const Dataset& dataset) {
  const auto known = static_cast<std::size_t>(model.network->architecture().classes);
  require(known == dataset.classes.size(), "[", command, "] the network knows ", known, " classes, the data has ",
          dataset.classes.size());
  for (std::size_t i = 0; i < model.classes.size(); ++i) {
    require(model.classes[i] == dataset.classes[i], "[", command, "] the network's class ", i, " is `",
            model.classes[i], "`, the data's is `", dataset.classes[i], "`");
  }
}

}  // namespace

void take_options_of(CLI::App& command, const std::string& model) {
  const std::string config = model + "/config.toml";
  if (RunDirectory::holds_file(config)) apply_config(command, config, UnknownKeys::pass_over);
}

OpenedModel open_model(CLI::App& command, Settings& settings, const std::string& path, const std::string& variant,
                       bool read_train, Backend& backend, Progress& progress) {
  const std::string name = command.get_name();
  OpenedModel opened{
      .model = load_model(backend, path, variant.empty() ? std::nullopt : std::optional(variant_from(variant))),
      .dataset = {},
      .normalisation = {}};
  const Model& model = opened.model;
  if (command.get_option("--data")->count() == 0) {
    require(!model.data.empty(), "[", name, "] `", path,
            "` doesn't say what it was trained on: name the data with --data");
    settings.data.data = model.data;
  }
  const Architecture architecture = model.network->architecture();
  DataOptions options = settings.data_options();
  options.image_size = architecture.height;
  options.read_train = read_train || !model.normalisation;
  opened.dataset = open_announced(options, progress.listener());
  check_classes(name, model, opened.dataset);
  opened.normalisation =
      model.normalisation ? *model.normalisation : normalisation_of(architecture.variant, opened.dataset.train);
  return opened;
}

}  // namespace stagewise
