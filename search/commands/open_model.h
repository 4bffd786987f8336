// A finished network and the data to look at it with, for the commands that take MODEL.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "search/commands/options.h"
#include "search/run/progress.h"
#include "search/training/model_file.h"

namespace stagewise {

/// Where `model` is a run's folder, the options that the command line left open are the run's: its data above all.
void take_options_of(CLI::App& command, const std::string& model);

/// `settings` with the data options that the run in the folder `run` was begun with, where its config.toml is there.
Settings settings_of_run(const std::string& run, Settings settings);

struct OpenedModel {
  Model model;
  Dataset dataset;
  Normalisation normalisation;
};

/// Reads the model (`variant` may be empty: what the file holds) and opens the data that it was trained on, or the
/// data that --data names. The paper's files hold no normalisation; theirs is that of the data's training images, which
/// are read then, and where `read_train` asks for them. Where nothing is read to train on, the test images get the labels
/// that the network has for the classes of their names; a class that it doesn't know is left out, and named on standard
/// error. Errors: throws Error when the model doesn't say what it was trained on and nobody else does, and when the
/// network knows other classes than the data (then: knows none of them).
OpenedModel open_model(CLI::App& command, Settings& settings, const std::string& path, const std::string& variant,
                       bool read_train, Backend& backend, Progress& progress);

/// Gives the test images of `dataset` the labels of the `known` classes of the same names. A class that isn't known is
/// left out, and named on standard error. Errors: throws Error, for `command`, when none is known.
void map_classes(const std::string& command, const std::vector<std::string>& known, Dataset& dataset,
                 Progress& progress);

}  // namespace stagewise
