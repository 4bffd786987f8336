// `stagewise score`: how important each stage of a finished network is, by every criterion, with intervals.
#include <algorithm>
#include <cmath>
#include <iostream>

#include "search/commands/commands.h"
#include "search/commands/numbers.h"
#include "search/commands/open_model.h"
#include "search/decision.h"
#include "search/importance.h"
#include "search/report/finished_run.h"
#include "search/report/table.h"
#include "search/run/text.h"
#include "search/trial.h"
#include "tensor/atomic_file.h"

namespace stagewise {

namespace {

constexpr const char* kAblation = "ablation";
constexpr std::int64_t kStatisticsImages = 2048;
constexpr double kNinetyFivePercent = 1.96;

struct ScoreOptions {
  Settings settings;
  std::string model, variant, criterion = "all", csv;
  std::int64_t images = 0;
};

struct Row {
  std::size_t stage = 0;
  std::int64_t depth = 0;
  std::string criterion;
  StageScore score;
};

/// What the stages are scored on.
struct Evidence {
  const ImageStore& images;
  const Split& split;
  std::uint64_t seed = 0;
  Progress& progress;
};

std::vector<std::string> chosen_criteria(const std::string& name) {
  std::vector<std::string> known = criterion_names();
  known.emplace_back(kAblation);
  if (name == "all") return known;
  require(std::find(known.begin(), known.end(), name) != known.end(), "[--criterion] there is no `", name,
          "`: expected all, or one of those that --help lists");
  return {name};
}

bool needs_held_out(const std::string& criterion) {
  return criterion == kAblation || make_criterion(criterion)->needs_validation();
}

/// What is said about the held-out images; `model` may be no run.
std::string about_held_out(const std::string& model, const Split& split) {
  const std::string count = counted(std::ssize(split.validation), "image") +
                            (split.validation.size() == 1 ? " is" : " are") + " held out for probe and ablation";
  const std::optional<HeldOutImages> run = held_out_images_of(model);
  if (split.validation.empty()) {
    return "No images are held out, so probe and ablation are left out; --validation 0.1 holds some out" +
           std::string(run ? ", though the run has trained on them." : ".");
  }
  if (!run) return count + "; whether the network was trained on them is not known. If it was, they flatter it.";
  switch (*run) {
    case HeldOutImages::never_trained_on: return count + ": the run's own, never trained on.";
    case HeldOutImages::joined_the_training:
      return count + ": the run's own, which joined its training at the end, so they flatter it.";
    case HeldOutImages::none: break;
  }
  return count + "; the run held none out and has trained on them, so they flatter it.";
}

StageScore with_interval(double value, double error) {
  return {value, value - kNinetyFivePercent * error, value + kNinetyFivePercent * error};
}

/// By a criterion of search/criteria/. What one fits to the features is uncertain by the images that it was fitted on
/// (the jackknife's error), and an accuracy by those that it was judged on too.
void add_rows(const Network& network, const Criterion& criterion, const MomentParts& parts, const Evidence& evidence,
              std::vector<Row>& rows) {
  const std::vector<ReplicatedScore> scores =
      score_stages(network, evidence.images, parts, evidence.split.validation, criterion, evidence.seed);
  for (std::size_t stage = 0; stage < scores.size(); ++stage) {
    const double value = scores[stage].value;
    double variance = std::pow(jackknife_error(scores[stage].without_part), 2);
    if (criterion.needs_validation()) {
      variance += value * (1.0 - value) / static_cast<double>(evidence.split.validation.size());
    }
    rows.push_back({stage, network.depth(stage), criterion.name(), with_interval(value, std::sqrt(variance))});
  }
}

/// What each stage's last block saves of the held-out loss, where the stage has another. Leaves the network with other
/// running statistics.
void add_ablation(Network& network, const Evidence& evidence, std::vector<Row>& rows) {
  const Architecture architecture = network.architecture();
  BlocksOnTrial last(architecture.stages.size());
  for (std::size_t stage = 0; stage < last.size(); ++stage) {
    const std::vector<std::int64_t>& blocks = architecture.stages[stage].blocks;
    if (blocks.size() > 1) last[stage] = {blocks.back()};
  }
  const std::vector<std::int32_t> statistics = evenly(evidence.split.train, kStatisticsImages);
  const TrialImages images{.images = evidence.images,
                           .statistics = statistics,
                           .training = evidence.split.train,
                           .held_out = evidence.split.validation};
  const std::vector<StageScore> scores =
      score_trial(network, last, images, kAblation, evidence.seed, 0,
                  [&](const PassProgress& pass) { evidence.progress.pass("held-out images", pass); });
  for (std::size_t stage = 0; stage < last.size(); ++stage) {
    if (!last[stage].empty()) rows.push_back({stage, architecture.depths()[stage], kAblation, scores[stage]});
  }
}

std::vector<Row> score_all(Network& network, const std::vector<std::string>& criteria, const Evidence& evidence) {
  // One pass serves all: held-out images are gathered by themselves, since the probe must not be fitted to them.
  MomentParts training, all;
  const auto gather = [&](const std::vector<std::int32_t>& indices, const char* what) {
    return moments_of_parts(network, evidence.images, indices,
                            [&](const PassProgress& pass) { evidence.progress.pass(what, pass); });
  };
  const auto asks = [](const std::string& name) { return name != kAblation && make_criterion(name)->needs_moments(); };
  if (std::any_of(criteria.begin(), criteria.end(), asks)) {
    training = gather(evidence.split.train, "training images");
    all = training;
    add_parts(gather(evidence.split.validation, "held-out images"), all);
  }
  std::vector<Row> rows;
  for (const std::string& name : criteria) {
    if (name == kAblation) continue;
    const std::unique_ptr<Criterion> criterion = make_criterion(name);
    add_rows(network, *criterion, criterion->needs_validation() ? training : all, evidence, rows);
  }
  const bool ablates = std::find(criteria.begin(), criteria.end(), kAblation) != criteria.end();
  if (ablates) add_ablation(network, evidence, rows);
  return rows;
}

Table table_of(const std::vector<Row>& rows, const std::function<std::string(double)>& number) {
  Table table({"stage", "depth", "criterion", "score", "lower", "upper"});
  for (const auto& [stage, depth, criterion, score] : rows) {
    table.add({std::to_string(stage + 1), std::to_string(depth), criterion, number(score.value), number(score.lower),
               number(score.upper)});
  }
  return table;
}

/// Every n-th image of each side of the split, so that `count` are left of all.
void thin_out(Split& split, std::int64_t count) {
  const auto all = static_cast<double>(split.train.size() + split.validation.size());
  const double share = std::min(1.0, static_cast<double>(count) / all);
  for (std::vector<std::int32_t>* side : {&split.train, &split.validation}) {
    *side = evenly(*side, std::llround(share * static_cast<double>(side->size())));
  }
}

void run_score(CLI::App& command, ScoreOptions& options) {
  Settings& settings = options.settings;
  std::vector<std::string> criteria = chosen_criteria(options.criterion);
  take_options_of(command, options.model);
  Progress progress(settings.quiet);
  const std::unique_ptr<Backend> backend = open_backend(settings.device);
  const auto [model, dataset, normalisation] =
      open_model(command, settings, options.model, options.variant, /*read_train=*/true, *backend, progress);
  Split split = split_of(dataset, settings.data_options());
  if (options.images > 0) thin_out(split, options.images);
  if (options.criterion == "all" && split.validation.empty()) std::erase_if(criteria, needs_held_out);
  const ImageStore images(*backend, dataset.train, static_cast<std::int64_t>(dataset.classes.size()), normalisation,
                          feature_map_type(settings.device, *backend));
  const std::vector<Row> rows = score_all(
      *model.network, criteria, {.images = images, .split = split, .seed = settings.seed, .progress = progress});
  progress.line("");
  std::cout << table_of(rows, [](double number) { return fixed(number, 6); }).text() << '\n'
            << about_held_out(options.model, split) << '\n'
            << std::flush;
  if (!options.csv.empty()) {
    write_file_atomically(options.csv, table_of(rows, [](double number) { return exact(number); }).csv());
  }
}

}  // namespace

Command add_score(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "score",
      "Score each stage of a network by every criterion, with 95% intervals.\n\n"
      "vip and r2y look at all training images. probe is fitted on those that are not held out, and judged on those "
      "that "
      "are; ablation is the held-out loss that a stage's last block saves. A run's own held-out images are used, if it "
      "held any out: most runs train on them once everything is decided, and then the two flatter the network. The "
      "command says which it is.");
  const auto options = std::make_shared<ScoreOptions>();
  const auto text = [&](const std::string& name, std::string& value, const std::string& description) {
    return command->add_option(name, value, description)->configurable(false);
  };
  text("model", options->model, "A run's folder or a .safetensors file")->required();
  text("--variant", options->variant, "standard or paper: refuse a file of the other one");
  std::string names = "all, or one of:";
  for (const std::string& name : criterion_names()) names += "\n  " + name + ": " + make_criterion(name)->description();
  text("--criterion", options->criterion, names + "\n  ablation: the held-out loss that a stage's last block saves");
  text("--csv", options->csv, "Write stage,depth,criterion,score,lower,upper to this file as well, with all digits");
  command->add_option("--images", options->images, "Look at only so many of the images, evenly; 0: at all of them")
      ->transform(between<std::int64_t>(0, 1'000'000'000))
      ->configurable(false);
  add_data_options(*command, options->settings);
  add_split_options(*command, options->settings);
  add_device_options(*command, options->settings);
  return {.app = command, .run = [command, options] { run_score(*command, *options); }};
}

}  // namespace stagewise
