#include "search/commands/options.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cpu/cores.h"
#include "search/commands/numbers.h"
#include "search/run/directory.h"
#include "search/run/text.h"

namespace stagewise {

namespace {

constexpr std::int64_t kMillion = 1'000'000;

/// `850000`, `850k` or `0.85M` to digits; says what is wrong with anything else.
std::string amount(std::string& text) {
  const std::size_t digits = text.find_last_not_of("kMG") + 1;
  const std::string unit = text.substr(digits);
  const std::optional<double> number = parse_number<double>(text.substr(0, digits));
  const double factor = unit.empty() ? 1 : unit == "k" ? 1e3 : unit == "M" ? 1e6 : unit == "G" ? 1e9 : std::nan("");
  const double value = number.value_or(-1) * factor;
  if (!(value >= 0 && value <= 1e15)) {
    return concat("expected an amount such as 850000, 850k or 0.85M, got `", text, "`");
  }
  text = std::to_string(std::llround(value));
  return "";
}

/// Folders are written down whole, so that a config file works from everywhere; it is UTF-8.
std::string absolute_data(std::string& data) {
  try {
    nlohmann::json(data).dump();
  } catch (const nlohmann::json::exception&) {
    return "expected a name in UTF-8, got bytes that aren't: rename the folder, or reach it through a link";
  }
  if (data != "synthetic" && !data.empty()) data = std::filesystem::absolute(data).lexically_normal().string();
  return "";
}

}  // namespace

SearchOptions Settings::search_options() const {
  SearchOptions options = search;
  options.seed = seed;
  options.start = parse_depths(blocks, blocks_option);
  options.variant = variant_from(variant);
  options.inherit = inherit_from(inherit);
  options.initialiser = block_initialiser_from(initialiser);
  options.training.seed = seed;
  options.training.schedule.kind = schedule_kind_from(schedule);
  options.training.augmentation.flip = !no_flip;
  return options;
}

std::string Settings::resumed() const { return resume_or_start && RunDirectory::holds_run(out) ? out : resume; }

DataOptions Settings::data_options() const {
  DataOptions options = data;
  options.seed = seed;
  options.threads = device.threads > 0 ? device.threads : cpu::usable_cores();
  return options;
}

void add_device_options(CLI::App& command, Settings& settings) {
  const std::string group = "Device";
  command.add_option("--device", settings.device.device, "auto, cpu, reference (slow and simple) or cuda")
      ->group(group);
  command
      .add_option("--threads", settings.device.threads,
                  "CPU threads; 0 takes one a core. The results don't depend on it")
      ->transform(between<std::int64_t>(0, 1024))
      ->group(group);
  command
      .add_option("--precision", settings.device.precision,
                  "fp32, or bf16: feature maps are stored in half the memory, and computed with in fp32")
      ->group(group);
  command
      .add_flag("--strict-convolution", settings.device.strict_convolution,
                "Direct convolutions only: slower, with a tenth of Winograd's rounding error")
      ->group(group);
  command
      .add_option("--tf32", settings.device.tf32,
                  "on: CUDA's fp32 convolutions run on tensor cores, their operands rounded to 10 bits; off: exact")
      ->group(group);
  command.add_flag("--quiet", settings.quiet, "Print the result only")->configurable(false)->group(group);
}

void add_data_options(CLI::App& command, Settings& settings) {
  const std::string group = "Data";
  DataOptions& data = settings.data;
  command
      .add_option(
          "--data", data.data,
          "synthetic (drawn from the seed), a folder with CIFAR-10's or CIFAR-100's binary version, or a folder "
          "with train/CLASS/* and perhaps test/CLASS/* (JPEG, PNG, BMP, PPM)")
      ->transform(CLI::Validator(absolute_data, ""))
      ->group(group);
  command.add_option("--image-size", data.image_size, "Pixels a side that the images of a folder are resized to")
      ->transform(between<std::int64_t>(4, 512))
      ->group(group);
  command.add_flag("--skip-unreadable", data.skip_unreadable, "Leave out images that can't be decoded")->group(group);
  command.add_option("--synthetic-train", data.synthetic_train, "Training images of the synthetic data")
      ->transform(between<std::int64_t>(20, kMillion))
      ->group(group);
  command.add_option("--synthetic-test", data.synthetic_test, "Test images of the synthetic data")
      ->transform(between<std::int64_t>(10, kMillion))
      ->group(group);
  command.add_option("--seed", settings.seed, "Every draw comes from it: same seed, same bits")
      ->transform(between<std::uint64_t>(0, std::uint64_t{1} << 53))
      ->group(group);
}

void add_split_options(CLI::App& command, Settings& settings) {
  const std::string group = "Data";
  command
      .add_option("--train-images", settings.data.train_images,
                  "Use only so many training images, evenly from all classes; 0 uses all")
      ->transform(between<std::int64_t>(0, 1000 * kMillion))
      ->group(group);
  command
      .add_option("--validation", settings.data.validation,
                  "Share of the training images that is held out to steer decisions, never trained on")
      ->transform(between(0.0, 0.5))
      ->group(group);
}

void add_network_options(CLI::App& command, Settings& settings, const std::string& blocks) {
  const std::string group = "Network";
  settings.blocks_option = blocks;
  command
      .add_option(blocks, settings.blocks,
                  "Residual blocks in each stage; a stage has half the resolution and twice "
                  "the channels (16, 32, 64, ...) of the one before")
      ->group(group);
  command.add_option("--variant", settings.variant, "standard, or paper: as the paper's released Keras networks")
      ->group(group);
}

void add_training_options(CLI::App& command, Settings& settings) {
  const std::string group = "Training";
  TrainingOptions& training = settings.search.training;
  const auto number = [&](const std::string& name, auto& value, const std::string& text, auto lo, auto hi) {
    command.add_option(name, value, text)->transform(between(lo, hi))->group(group);
  };
  number("--epochs", training.epochs, "Epochs of each training, each with the whole schedule", std::int64_t{1},
         std::int64_t{100000});
  number("--batch-size", training.batch_size, "Images a step", std::int64_t{1}, std::int64_t{65536});
  number("--learning-rate", training.schedule.peak, "Peak learning rate", 1e-9, 100.0);
  command
      .add_option("--schedule", settings.schedule,
                  "one-cycle (linear up, linear down to zero), cosine, step (a tenth at half, again at three quarters) "
                  "or constant")
      ->group(group);
  number("--warm-up", training.schedule.warm_up, "Share of the steps until the peak (one-cycle and cosine)", 0.0, 1.0);
  number("--weight-decay", training.sgd.weight_decay, "On filters and linear weights only", 0.0, 1.0);
  number("--momentum", training.sgd.momentum, "Nesterov's", 0.0, 0.9999);
  number("--label-smoothing", training.label_smoothing, "Share of the target spread over all classes", 0.0, 0.99);
  number("--crop-padding", training.augmentation.crop_padding, "Pixels an image is shifted by at most, edges reflected",
         std::int64_t{0}, std::int64_t{64});
  command.add_flag("--no-flip", settings.no_flip, "Don't mirror images")->group(group);
}

void add_growth_options(CLI::App& command, Settings& settings) {
  const std::string group = "Growth";
  SearchOptions& search = settings.search;
  command.add_option("--iterations", search.iterations, "How often the network may grow")
      ->transform(between<std::int64_t>(1, 1000))
      ->group(group);
  command.add_option("--step", search.growth.step, "Blocks that a stage grows by")
      ->transform(between<std::int64_t>(1, 1000))
      ->group(group);
  std::string criteria;
  for (const std::string& name : criterion_names()) {
    criteria += "\n  " + name + ": " + make_criterion(name)->description();
  }
  command.add_option("--criterion", search.criterion, "What scores a stage:" + criteria)->group(group);
  command.add_option("--margin", search.growth.margin, "A stage grows when its score rose by more than this")
      ->transform(between(-1e9, 1e9))
      ->group(group);
  command
      .add_option("--inherit", settings.inherit,
                  "identity: grow in place, weights and momentum stay; none: train every network from scratch")
      ->group(group);
  command
      .add_option("--initialiser", settings.initialiser,
                  "How an inserted block starts: zero-gamma (as the identity), he, copy or gaussian-bn")
      ->group(group);
  command
      .add_option("--max-params", search.growth.max_parameters, "Budget, e.g. 0.85M; running statistics count; 0: none")
      ->transform(CLI::Validator(amount, ""))
      ->group(group);
  command
      .add_option("--max-macs", search.growth.max_macs, "Budget of multiply-accumulates an image, e.g. 150M; 0: none")
      ->transform(CLI::Validator(amount, ""))
      ->group(group);
}

void add_run_options(CLI::App& command, Settings& settings) {
  const std::string group = "Run";
  command.add_option("--out", settings.out, "Folder for the results (default runs/COMMAND-DATE-TIME)")
      ->configurable(false)
      ->group(group);
  CLI::Option* resume = command.add_option("--resume", settings.resume, "Go on with the run in this folder")
                            ->configurable(false)
                            ->group(group);
  CLI::Option* config = command
                            .add_option("--config", settings.config,
                                        "Take options from this file, such as a run's "
                                        "config.toml; the command line wins")
                            ->configurable(false)
                            ->group(group);
  command
      .add_flag("--resume-or-start", settings.resume_or_start,
                "Go on with the run in --out where one was begun, else start it: one command line for a job that is "
                "tried again until it is done")
      ->needs("--out")
      ->configurable(false)
      ->group(group);
  resume->excludes("--out")->excludes(config);
}

}  // namespace stagewise
