#include "search/commands/options.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cpu/cores.h"
#include "cpu/memory.h"
#include "search/commands/numbers.h"
#include "search/criteria/criterion.h"
#include "search/run/directory.h"
#include "search/run/text.h"

namespace stagewise {

namespace {

constexpr std::int64_t kMillion = 1'000'000;

/// `850000`, `850k` or `0.85M` to digits; says what is wrong with anything else.
std::string amount(std::string& text) {
  const std::size_t digits = text.find_last_not_of("kMGT") + 1;
  const std::string unit = text.substr(digits);
  const std::optional<double> number = parse_number<double>(text.substr(0, digits));
  const double factor = unit.empty()  ? 1
                        : unit == "k" ? 1e3
                        : unit == "M" ? 1e6
                        : unit == "G" ? 1e9
                        : unit == "T" ? 1e12
                                      : std::nan("");
  const double value = number.value_or(-1) * factor;
  if (!(value >= 0 && value <= 1e18)) {
    return concat("expected an amount such as 850000, 850k or 0.85M, got `", text, "`");
  }
  text = std::to_string(std::llround(value));
  return "";
}

/// `auto`, `off`, or bytes as digits.
std::string cache_size(std::string& text) {
  if (text == "auto" || text == "off" || amount(text).empty()) return "";
  return concat("expected auto, off, or bytes such as 800M or 4G, got `", text, "`");
}

/// A number, or nothing, which a config file has as "".
std::string margin_or_nothing(std::string& text) { return text.empty() ? "" : between(-1e9, 1e9)(text); }

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

/// Likewise a file of plans.
std::string absolute_plans(std::string& plans) {
  if (plans != "auto" && plans != "none") plans = std::filesystem::absolute(plans).lexically_normal().string();
  return "";
}

}  // namespace

SearchOptions Settings::search_options() const {
  SearchOptions options = search;
  options.seed = seed;
  options.start = parse_depths(blocks, blocks_option);
  options.variant = variant_from(variant);
  options.style = style.style(options.start.size());
  if (!grow_to.empty()) options.grow_to = parse_depths(grow_to, "--grow-to");
  if (!margin.empty()) options.margin = std::stod(margin);
  options.initialiser = block_initialiser_from(initialiser);
  options.join_held_out = !keep_held_out;
  options.training.seed = seed;
  options.training.schedule.kind = schedule_kind_from(schedule);
  options.training.augmentation.flip = flip_from(flip);
  options.training.optimiser.kind = optimiser_kind_from(optimiser);
  return options;
}

std::string Settings::resumed() const { return resume_or_start && RunDirectory::holds_run(out) ? out : resume; }

DataOptions Settings::data_options() const {
  DataOptions options = data;
  options.seed = seed;
  options.threads = device.threads > 0 ? device.threads : cpu::usable_cores();
  options.cache = cache == "auto" ? cpu::usable_memory() / 2 : cache == "off" ? 0 : std::stoll(cache);
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
  command
      .add_flag("--no-graph", settings.device.no_graph,
                "CUDA queues each step anew instead of replaying a recorded one (a CUDA graph): slower, same bits")
      ->group(group);
  command
      .add_option(
          "--plans", settings.device.plans,
          "How CUDA does each convolution: a file that `stagewise tune` wrote for this device; auto: yours, where "
          "you have tuned; none: cuDNN's own order. A run keeps a copy")
      ->transform(CLI::Validator(absolute_plans, ""))
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
  command
      .add_option("--cache", settings.cache,
                  "Memory for a folder's decoded images: auto (half of what there is), off, or bytes such as 4G. Where "
                  "they take more, they are decoded again when they are needed; the results don't depend on it")
      ->transform(CLI::Validator(cache_size, ""))
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
  add_style_options(command, settings.style, settings.network, group);
}

void add_from_option(CLI::App& command, Settings& settings, const std::string& text) {
  const auto absolute = [](std::string& path) {
    if (!path.empty()) path = std::filesystem::absolute(path).lexically_normal().string();
    return std::string();
  };
  command.add_option("--from", settings.search.from, text)->transform(CLI::Validator(absolute, ""))->group("Network");
}

void add_training_options(CLI::App& command, Settings& settings) {
  const std::string group = "Training";
  TrainingOptions& training = settings.search.training;
  const auto number = [&](const std::string& name, auto& value, const std::string& text, auto lo, auto hi) {
    command.add_option(name, value, text)->transform(between(lo, hi))->group(group);
  };
  number("--epochs", training.epochs, "Passes over the training images in all, where --work is not given",
         std::int64_t{1}, std::int64_t{100000});
  command.get_option("--epochs")->excludes("--hours");
  training.batch_size = 0;
  training.schedule.peak = 0.0;
  training.optimiser.weight_decay = -1.0;
  number("--batch-size", training.batch_size, "Images a step; 0: 128, of small data sets less", std::int64_t{0},
         std::int64_t{65536});
  command
      .add_option("--optimiser", settings.optimiser,
                  "sgd, with Nesterov's momentum; or adamw, with decoupled weight decay")
      ->group(group);
  number("--learning-rate", training.schedule.peak,
         "Peak learning rate; 0: 0.4 for batches of 128 (adamw: 0.004), in proportion", 0.0, 100.0);
  command
      .add_option("--schedule", settings.schedule,
                  "one-cycle (linear up, the peak, linear down to zero), cosine, step (a tenth at half, again at three "
                  "quarters) "
                  "or constant")
      ->group(group);
  number("--warm-up", training.schedule.warm_up, "Share of the work until the peak (one-cycle and cosine)", 0.0, 1.0);
  number("--decay", training.schedule.decay, "Share of the work over which the rate falls to zero (one-cycle)", 0.0,
         1.0);
  number("--weight-decay", training.optimiser.weight_decay,
         "On filters and linear weights only; -1: 5e-4 (adamw: 0.05) up to 8 passes over the images, then as "
         "1/sqrt(passes)",
         -1.0, 1.0);
  number("--momentum", training.optimiser.momentum, "sgd: Nesterov's", 0.0, 0.9999);
  number("--label-smoothing", training.label_smoothing, "Share of the target spread over all classes", 0.0, 0.99);
  number("--crop-padding", training.augmentation.crop_padding, "Pixels an image is shifted by at most, edges reflected",
         std::int64_t{0}, std::int64_t{64});
  command
      .add_option(
          "--flip", settings.flip,
          "Which images are mirrored: none; random ones, drawn anew in every epoch; or alternating: at random at "
          "first, then the other way in every epoch")
      ->group(group);
  number("--cutout", training.augmentation.cutout,
         "Side in pixels of a square that is hidden somewhere in each image (clipped at the edges); 0: none",
         std::int64_t{0}, std::int64_t{512});
  number("--average-decay", settings.search.average_decay,
         "Keep an average of the weights that forgets at this rate a step, e.g. 0.998, and use it; 0: none", 0.0,
         0.99999);
  number("--twin", settings.search.twin,
         "Turn the last bit of this weight of the stem at the start: another training by chance alone; 0: none",
         std::int64_t{0}, std::int64_t{1000000});
}

void add_budget_options(CLI::App& command, Settings& settings) {
  const std::string group = "Budget";
  SearchOptions& search = settings.search;
  command
      .add_option(
          "--work", search.work,
          "Multiply-accumulates of forward passes over training images, e.g. 3.07e13 or 30.7T (a third for images "
          "that are only looked at); 0: as many as --epochs takes")
      ->transform(CLI::Validator(amount, ""))
      ->group(group);
  command
      .add_option(
          "--hours", settings.hours,
          "As much work as this machine does in so many hours: measured for some seconds at the start, and kept "
          "as --work in config.toml")
      ->transform(between(0.001, 10000.0))
      ->configurable(false)
      ->excludes("--work")
      ->excludes("--resume")
      ->group(group);
  command.add_option("--save-minutes", search.save_minutes, "A checkpoint at least this often")
      ->transform(between(0.0, 1e6))
      ->group(group);
}

void add_growth_options(CLI::App& command, Settings& settings) {
  const std::string group = "Growth";
  SearchOptions& search = settings.search;
  command
      .add_option("--strategy", search.strategy,
                  "What the work is spent on:"
                  "\n  stagewise: one network grows by the plan, and blocks that don't pay are taken out"
                  "\n  jump: the plan's depths at once, nothing is measured"
                  "\n  paper: every network from scratch, as in the paper's code"
                  "\n  evolution: of the stages' depths, every network from scratch")
      ->group(group);
  command
      .add_option("--grow-to", settings.grow_to, "Depths to grow to in one round, e.g. 4,4,4, in place of the plan's")
      ->group(group);
  std::string criteria = "\n  ablation: the held-out loss that a stage's new blocks save";
  for (const std::string& name : criterion_names()) {
    criteria += "\n  " + name + ": " + make_criterion(name)->description();
  }
  command.add_option("--criterion", search.criterion, "What scores a stage:" + criteria)->group(group);
  command
      .add_option("--margin", settings.margin,
                  "Blocks stay that save more than this (default: 0.005 for ablation, 0 for the others)")
      ->transform(CLI::Validator(margin_or_nothing, ""))
      ->group(group);
  command.add_option("--skip", search.skip, "Probability with which a stage's blocks on trial are skipped")
      ->transform(between(0.0, 0.9))
      ->group(group);
  command
      .add_option("--initialiser", settings.initialiser,
                  "How an inserted block starts, as far as --shrink keeps it: zero-gamma or copy-zero (as the "
                  "identity), he, copy or gaussian-bn")
      ->group(group);
  command
      .add_option("--shrink", search.shrink,
                  "Share of every weight that is kept when blocks come, the rest is drawn anew (shrink and perturb); "
                  "-1: 0, but 1 of a model's that the search begins from")
      ->transform(between(-1.0, 1.0))
      ->group(group);
  command.add_flag("--keep-held-out", settings.keep_held_out, "Never train on the held-out images")->group(group);
  command
      .add_option("--max-params", search.limits.max_parameters, "Limit, e.g. 0.85M; running statistics count; 0: none")
      ->transform(CLI::Validator(amount, ""))
      ->group(group);
  command
      .add_option("--max-macs", search.limits.max_macs, "Limit of multiply-accumulates an image, e.g. 150M; 0: none")
      ->transform(CLI::Validator(amount, ""))
      ->group(group);
  command.add_option("--iterations", search.iterations, "paper: how often the network may grow")
      ->transform(between<std::int64_t>(1, 1000))
      ->group(group);
  command.add_option("--step", search.step, "paper: blocks that a stage grows by")
      ->transform(between<std::int64_t>(1, 1000))
      ->group(group);
  command.add_option("--models", search.models, "evolution: networks that half of the work goes to")
      ->transform(between<std::int64_t>(2, 1000))
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
  command
      .add_option("--rate-factor", settings.search.rate_factor,
                  "The learning rate times this from here on: a way on with --resume after a training diverged")
      ->transform(between(1e-6, 1e3))
      ->group(group);
  command
      .add_flag("--any-device", settings.search.any_device,
                "Go on with --resume on another device or instruction set than the run began on, with other bits")
      ->group(group);
  command
      .add_flag("--tensorboard", settings.tensorboard,
                "Also keep RUN/tensorboard/ while the run goes on: tensorboard --logdir RUN/tensorboard")
      ->group(group);
  resume->excludes("--out")->excludes(config);
}

}  // namespace stagewise
