#include "search/commands/open_model.h"

#include <algorithm>

#include "datasets/image_source.h"
#include "search/commands/config_file.h"
#include "search/run/directory.h"
#include "search/run/terminal.h"
#include "tensor/text.h"

namespace stagewise {

namespace {

constexpr std::size_t kExamples = 10;  // of classes, in messages

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kExamples); ++i) {
    text += concat(i > 0 ? ", `" : "`", printable(names[i]), "`");
  }
  return text + (names.size() > kExamples ? concat(" and ", names.size() - kExamples, " more") : "");
}

/// The network's label for each class of the data, -1 where it knows none of that name.
std::vector<std::int32_t> labels_of(const std::vector<std::string>& classes, const std::vector<std::string>& known) {
  std::vector<std::int32_t> labels;
  for (const std::string& name : classes) {
    const auto found = std::find(known.begin(), known.end(), name);
    labels.push_back(found == known.end() ? -1 : static_cast<std::int32_t>(found - known.begin()));
  }
  return labels;
}

/// Only the images that the network has a label for, with that label.
Images relabelled(Images images, const std::vector<std::int32_t>& labels) {
  std::vector<std::int32_t> known;
  for (std::int32_t i = 0; i < images.count(); ++i) {
    std::int32_t& label = images.labels[static_cast<std::size_t>(i)];
    label = labels[static_cast<std::size_t>(label)];
    if (label >= 0) known.push_back(i);
  }
  keep(images, known);
  return images;
}

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

void map_classes(const std::string& command, const std::vector<std::string>& known, Dataset& dataset,
                 Progress& progress) {
  if (dataset.classes == known || !dataset.load_test) return;
  const std::vector<std::int32_t> labels = labels_of(dataset.classes, known);
  std::vector<std::string> unknown, without = known;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0) unknown.push_back(dataset.classes[i]);
    std::erase(without, dataset.classes[i]);
  }
  require(unknown.size() < dataset.classes.size(), "[", command, "] the network knows none of the data's classes ",
          listed(unknown), "; it knows ", listed(known));
  if (!unknown.empty()) {
    complain("left out, since the network doesn't know the class: " + listed(unknown));
  }
  if (!without.empty()) progress.line("  no images of the network's class " + listed(without));
  dataset.load_test = [labels, load = dataset.load_test] { return relabelled(load(), labels); };
  dataset.classes = known;
}

void take_options_of(CLI::App& command, const std::string& model) {
  const std::string config = model + "/config.toml";
  if (RunDirectory::holds_file(config)) apply_config(command, config, UnknownKeys::pass_over);
}

Settings settings_of_run(const std::string& run, Settings settings) {
  CLI::App options;
  options.option_defaults()->always_capture_default();
  add_data_options(options, settings);
  add_split_options(options, settings);
  take_options_of(options, run);
  return settings;
}

OpenedModel open_model(CLI::App& command, Settings& settings, const std::string& path, const std::string& variant,
                       bool read_train, Backend& backend, Progress& progress) {
  const std::string name = command.get_name();
  OpenedModel opened{
      .model =
          load_model(backend, path, variant.empty() ? std::nullopt : std::optional(variant_from(variant)), complain),
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
  if (!options.read_train && !model.classes.empty()) map_classes(name, model.classes, opened.dataset, progress);
  check_classes(name, model, opened.dataset);
  opened.normalisation =
      model.normalisation ? *model.normalisation : normalisation_of(architecture.variant, opened.dataset.train);
  return opened;
}

}  // namespace stagewise
