#include "search/stagewise_search.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "layers/cost.h"
#include "search/importance.h"
#include "search/network_drawing.h"
#include "search/results.h"
#include "search/run/interrupt.h"
#include "search/run/text.h"
#include "tensor/atomic_file.h"
#include "tensor/random.h"

namespace stagewise {

using Json = nlohmann::ordered_json;

namespace {

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

void insert_blocks(Stage& stage, std::int64_t count, BlockInitialiser initialiser) {
  for (std::int64_t i = 0; i < count; ++i) stage.insert(stage.depth(), initialiser);
}

}  // namespace

std::string name_of(Inherit inherit) { return inherit == Inherit::identity ? "identity" : "none"; }

Inherit inherit_from(const std::string& name) {
  require(name == "identity" || name == "none", "[--inherit] expected identity or none, got `", name, "`");
  return name == "identity" ? Inherit::identity : Inherit::none;
}

StagewiseSearch::StagewiseSearch(Backend& backend, const RunData& data, const SearchOptions& options,
                                 const RunDirectory& run, Progress& progress, std::optional<CheckpointFile> saved)
    : backend_(backend),
      data_(data),
      options_(options),
      run_(run),
      progress_(progress),
      criterion_(make_criterion(options.criterion)) {
  if (!saved && run.has_checkpoint()) saved = read_checkpoint(run.checkpoint());
  if (saved) {
    Checkpoint checkpoint = load_checkpoint(*saved, backend, options.training.sgd);
    state_ = checkpoint.state;
    main_ = std::move(checkpoint.main);
    probe_ = std::move(checkpoint.probe);
    journal_ = std::make_unique<Journal>(run.journal(), state_.journal_bytes);
  } else {
    begin();
  }
}

void StagewiseSearch::begin() {
  state_.network_seed = next_network_seed();
  main_ = fresh(data_.architecture(options_.start, options_.variant), state_.network_seed);
  journal_ = std::make_unique<Journal>(run_.journal());
  record({{"event", "start"},
          {"device", backend_.description()},
          {"data", data_.description},
          {"training_images", data_.train.size()},
          {"validation_images", data_.validation.size()},
          {"blocks", options_.start},
          {"variant", name_of(options_.variant)},
          {"seed", options_.seed},
          {"iterations", options_.iterations},
          {"config", RunDirectory::holds_file(run_.config()) ? read_file(run_.config()) : ""},
          {"utc", utc_now()}});
  save();
}

Learner StagewiseSearch::fresh(const Architecture& architecture, std::uint64_t seed) const {
  Learner learner;
  learner.network = std::make_unique<ResNet>(backend_, architecture, seed);
  learner.optimiser = Sgd(options_.training.sgd);
  return learner;
}

/// Differs for every model of a run.
std::uint64_t StagewiseSearch::next_network_seed() const {
  return stream_of("network", options_.seed, static_cast<std::uint64_t>(state_.models));
}

bool StagewiseSearch::step() {
  if (state_.phase == Phase::finished) return false;
  stop_if_interrupted();
  if (state_.phase == Phase::searched) {
    conclude();
  } else if (epochs_done() < options_.training.epochs) {
    train_one_epoch();
  } else {
    end_training();
  }
  save();
  return true;
}

void StagewiseSearch::train_one_epoch() {
  Learner& learner = active();
  const Architecture architecture = learner.network->architecture();
  const std::string what = label();
  const PassResult training =
      train_epoch(*learner.network, learner.optimiser, data_.images, data_.train, options_.training, state_.epoch,
                  state_.first_epoch, callback(what, remaining(), training_work(architecture, 1)));
  forecast_.add(training_work(architecture, training.images), training.seconds);
  const PassResult validation =
      evaluate(*learner.network, data_.images, data_.validation,
               callback(what + ", validation", remaining(/*validating=*/true), evaluation_work(architecture, 1)));
  state_.epoch += 1;
  state_.images_seen += training.images;
  if (state_.phase == Phase::train) {
    state_.train_accuracy = training.accuracy();
    state_.validation_accuracy = validation.accuracy();
  }
  const double images_per_second = static_cast<double>(training.images) / training.seconds;
  Json event = {{"event", "epoch"},
                {"phase", state_.phase == Phase::train ? "train" : "probe"},
                {"iteration", state_.iteration},
                {"blocks", architecture.depths()},
                {"epoch", epochs_done()},
                {"of", options_.training.epochs},
                {"overall_epoch", state_.epoch},
                {"loss", training.loss},
                {"accuracy", training.accuracy()}};
  if (!data_.validation.empty()) {
    event["validation_loss"] = validation.loss;
    event["validation_accuracy"] = validation.accuracy();
  }
  event["images_per_second"] = std::round(images_per_second);
  record(event);
  const std::string time_left = forecast_.left(remaining());
  progress_.line(what + "  loss " + fixed(training.loss, 4) + "  accuracy " + percent(training.accuracy()) +
                 (data_.validation.empty() ? "" : "  validation " + percent(validation.accuracy())) + "  " +
                 with_thousands(std::llround(images_per_second)) + " images/s" +
                 (time_left.empty() ? "" : "  " + time_left));
}

void StagewiseSearch::end_training() {
  state_.models += 1;
  if (options_.iterations == 0) return stop("the training is done");
  const std::vector<double> scores = score(*active().network);
  record({{"event", "score"},
          {"phase", state_.phase == Phase::train ? "train" : "probe"},
          {"iteration", state_.iteration},
          {"blocks", active().network->architecture().depths()},
          {"criterion", options_.criterion},
          {"scores", scores}});
  if (state_.phase == Phase::probe) return decide(scores);
  state_.scores = scores;
  progress_.line(draw_network(main_.network->architecture(), score_notes(scores)));
  if (state_.iteration == options_.iterations) {
    return stop("all " + std::to_string(options_.iterations) + " iterations are done");
  }
  begin_probe();
}

std::vector<double> StagewiseSearch::score(const ResNet& network) {
  // The network's scores are for the next decision, which the probe's then belong to.
  const std::int64_t round = state_.phase == Phase::probe ? state_.iteration : state_.iteration + 1;
  const std::vector<double> scores =
      score_stages(network, data_.images, data_.train, data_.validation, *criterion_, options_.seed, round,
                   callback(label() + ", importance", remaining(), evaluation_work(network.architecture(), 1)));
  for (std::size_t stage = 0; stage < scores.size(); ++stage) {
    require(std::isfinite(scores[stage]), "[--criterion] the ", options_.criterion, " score of stage ", stage + 1,
            " is ", scores[stage]);
  }
  return scores;
}

void StagewiseSearch::begin_probe() {
  state_.iteration += 1;
  state_.phase = Phase::probe;
  state_.first_epoch = state_.epoch;
  if (options_.inherit == Inherit::none) {
    state_.probe_seed = next_network_seed();
    probe_ = fresh(deeper(main_.network->architecture(), options_.growth.step), state_.probe_seed);
    return;
  }
  state_.probe_seed = state_.network_seed;
  probe_ = main_.clone();
  for (Stage& stage : probe_.network->stages()) insert_blocks(stage, options_.growth.step, options_.initialiser);
}

void StagewiseSearch::decide(const std::vector<double>& probe_scores) {
  const Architecture before = main_.network->architecture();
  const std::vector<StageDecision> decisions = decide_growth(before, state_.scores, probe_scores, options_.growth);
  const std::vector<std::size_t> stages = growing_stages(decisions);
  const Architecture after = grown(before, stages, options_.growth.step);
  const Cost cost = cost_of(after).total();

  Json choices = Json::array();
  std::vector<std::string> notes;
  std::vector<std::int64_t> fresh;
  for (const StageDecision& decision : decisions) {
    choices.push_back({{"before", decision.before},
                       {"probe", decision.probe},
                       {"rise", decision.rise},
                       {"qualified", decision.qualified},
                       {"grown", decision.grown},
                       {"reason", decision.reason}});
    notes.push_back(decision.reason);
    fresh.push_back(decision.grown ? options_.growth.step : 0);
  }
  record({{"event", "decision"},
          {"iteration", state_.iteration},
          {"criterion", options_.criterion},
          {"step", options_.growth.step},
          {"margin", options_.growth.margin},
          {"max_parameters", options_.growth.max_parameters},
          {"max_macs", options_.growth.max_macs},
          {"stages", choices},
          {"blocks_before", before.depths()},
          {"blocks_after", after.depths()},
          {"parameters", cost.parameters()},
          {"macs", cost.macs}});
  progress_.line(draw_network(after, notes, fresh));

  probe_ = {};
  if (!stages.empty()) return grow(stages);
  const bool budget = std::any_of(decisions.begin(), decisions.end(), [](const auto& d) { return d.qualified; });
  stop(budget ? "no stage that qualifies fits the budget" : "no stage's score rose by more than the margin");
}

void StagewiseSearch::grow(const std::vector<std::size_t>& stages) {
  state_.phase = Phase::train;
  state_.first_epoch = state_.epoch;
  if (options_.inherit == Inherit::none) {
    state_.network_seed = next_network_seed();
    main_ = fresh(grown(main_.network->architecture(), stages, options_.growth.step), state_.network_seed);
    return;
  }
  for (const std::size_t stage : stages) {
    insert_blocks(main_.network->stages()[stage], options_.growth.step, options_.initialiser);
  }
}

void StagewiseSearch::stop(const std::string& reason) {
  state_.phase = Phase::searched;
  state_.stop_reason = reason;
  record({{"event", "stop"}, {"reason", reason}});
  progress_.line("Stopped: " + reason + ".");
}

void StagewiseSearch::conclude() {
  std::optional<PassResult> test;
  const Images images = data_.load_test ? data_.load_test() : Images{};
  if (images.count() > 0) {
    record({{"event", "test set opened"}, {"images", images.count()}, {"utc", utc_now()}});
    const ImageStore store(backend_, images, data_.images.classes(), data_.normalisation, data_.images.feature_maps());
    test = evaluate(*main_.network, store, all_indices(store.count()), callback("test set", remaining(), 0.0));
  }
  Json event = {{"event", "finished"},
                {"blocks", main_.network->architecture().depths()},
                {"validation_accuracy", state_.validation_accuracy},
                {"models", state_.models},
                {"images_seen", state_.images_seen}};
  if (test) event["test_right"] = test->right;
  if (test) event["test_accuracy"] = test->accuracy();
  record(event);
  write_results(run_, *main_.network, data_, summarise(state_, *main_.network, data_, options_.start, test));
  state_.phase = Phase::finished;
}

std::string StagewiseSearch::label() const {
  const std::string epoch = "epoch " + std::to_string(std::min(epochs_done() + 1, options_.training.epochs)) + "/" +
                            std::to_string(options_.training.epochs);
  if (options_.iterations == 0) return epoch;
  const std::string model = state_.phase == Phase::probe ? "probe" : state_.iteration == 0 ? "start" : "grown";
  const Learner& learner = state_.phase == Phase::probe ? probe_ : main_;
  return "iteration " + std::to_string(state_.iteration) + "/" + std::to_string(options_.iterations) + "  " + model +
         " " + join(learner.network->architecture().depths()) + "  " + epoch;
}

Work StagewiseSearch::remaining(bool validating) const {
  const WorkPlan plan{.epochs = options_.training.epochs,
                      .iterations = options_.iterations,
                      .step = options_.growth.step,
                      .train_images = static_cast<std::int64_t>(data_.train.size()),
                      .validation_images = static_cast<std::int64_t>(data_.validation.size()),
                      .scores = options_.iterations > 0 && criterion_->needs_moments()};
  return remaining_work(plan, state_, (state_.phase == Phase::probe ? probe_ : main_).network->architecture(),
                        validating);
}

/// For a pass at whose beginning there was `remaining` work.
PassCallback StagewiseSearch::callback(const std::string& what, const Work& remaining, double work_an_image) {
  return [=, this](const PassProgress& progress) {
    stop_if_interrupted();
    Work rest = remaining;
    rest.amount -= work_an_image * static_cast<double>(progress.images_done);
    progress_.pass(what, progress, forecast_.left(rest));
  };
}

void StagewiseSearch::record(Json event) {
  const auto now = std::chrono::steady_clock::now();
  state_.seconds += std::chrono::duration<double>(now - clock_).count();
  clock_ = now;
  event["seconds"] = std::round(state_.seconds * 10.0) / 10.0;
  journal_->write(event);
}

void StagewiseSearch::save() {
  state_.journal_bytes = journal_->bytes();
  save_checkpoint(run_.checkpoint(), state_, main_, probe_);
}

}  // namespace stagewise
