// The options that commands share.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "search/run/device.h"
#include "search/search_run.h"
#include "search/training/run_data.h"

namespace stagewise {

/// What a network is made of, as the person wrote it. `widths` may have the stem's in front of the stages'.
struct StyleOptions {
  std::string block = "basic", stem = "small", shortcut = "projection", widths;

  /// For stages of so many. Errors: throws Error for a name that isn't known, or another number of widths.
  NetworkStyle style(std::size_t stages) const;
};

/// As the person wrote them; the choices are text here.
struct Settings {
  DeviceOptions device;
  bool quiet = false;
  std::string out, resume, config;
  bool resume_or_start = false, tensorboard = false;

  std::string blocks = "3,3,3", blocks_option;
  std::string variant = "standard", schedule = "one-cycle";
  StyleOptions style;
  std::string network;  // a preset's name; empty: none
  std::string initialiser = "zero-gamma", grow_to, margin;
  std::string flip = "alternating";
  std::string optimiser = "sgd";
  std::string cache = "auto";  // for decoded images: auto, off or bytes
  bool keep_held_out = false;
  double hours = 0.0;  // in place of search.work, once a run begins; 0: not asked for
  std::uint64_t seed = 0;
  DataOptions data;
  SearchOptions search;

  /// The choices turned into what they name. Errors: throws Error for a name that isn't known.
  SearchOptions search_options() const;
  /// The run to go on with; empty to start one.
  std::string resumed() const;
  DataOptions data_options() const;
};

void add_device_options(CLI::App& command, Settings& settings);
void add_data_options(CLI::App& command, Settings& settings);
/// What of the data is trained on.
void add_split_options(CLI::App& command, Settings& settings);
/// `blocks` is the name of the option that takes the network's depths.
void add_network_options(CLI::App& command, Settings& settings, const std::string& blocks);
/// --network, --block-kind, --stem, --shortcut, --widths.
void add_style_options(CLI::App& command, StyleOptions& style, std::string& network, const std::string& group);
/// The options that describe the network, by their names, `blocks` the one that takes the depths.
std::vector<std::pair<std::string, std::string>> network_options(const Architecture& architecture,
                                                                 const std::string& blocks);
/// Sets these options. Errors: throws Error, in which `whose` says whose network it is, where one was given otherwise.
void take_network(CLI::App& command, const Architecture& architecture, const std::string& blocks,
                  const std::string& whose);
void add_training_options(CLI::App& command, Settings& settings);
void add_budget_options(CLI::App& command, Settings& settings);
void add_growth_options(CLI::App& command, Settings& settings);
/// --out, --resume, --resume-or-start, --config.
void add_run_options(CLI::App& command, Settings& settings);

/// --from, as `text` says.
void add_from_option(CLI::App& command, Settings& settings, const std::string& text);

/// A search or a training from the first epoch, or from where a run stopped, to its results. `name` is the command that
/// goes on with it.
void run_search(CLI::App& command, Settings& settings, const std::string& name);

/// A training: all that add_train() adds.
void add_train_options(CLI::App& command, Settings& settings);
/// Where --from names a network, --blocks, --variant and the like are that network's. Errors: throws Error when the person asked
/// for others.
void run_train(CLI::App& command, Settings& settings);

}  // namespace stagewise
