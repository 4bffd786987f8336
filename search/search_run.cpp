#include "search/search_run.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <tuple>

#include "layers/cost.h"
#include "search/results.h"
#include "search/run/interrupt.h"
#include "search/run/terminal.h"
#include "search/run/text.h"
#include "search/training/model_file.h"
#include "search/training/network_tensors.h"
#include "search/trial.h"
#include "search/work.h"
#include "tensor/atomic_file.h"
#include "tensor/random.h"

namespace stagewise {

namespace {

constexpr std::int64_t kStatisticsImages = 2048;

/// Another training by chance alone: the last bit of one initial weight is turned.
void turn_last_bit(const Tensor& weight, std::int64_t place) {
  std::vector<float> values = weight.to_host<float>();
  require(place >= 0 && place < weight.count(), "[--twin] expected a weight of the stem from 1 to ", weight.count(),
          ", got ", place + 1);
  float& value = values[static_cast<std::size_t>(place)];
  value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) ^ 1U);
  weight.backend().copy_from_host(values.data(), weight);
}

/// Errors: throws Error for options that have no meaning together.
SearchOptions checked(SearchOptions options) {
  const bool scratch = options.strategy == "paper" || options.strategy == "evolution";
  require(options.from.empty() || !scratch, "[--strategy] ", options.strategy,
          " draws every network anew, so the weights in `", options.from, "` would be of no use");
  if (!options.training.freeze_trunk) return options;
  require(options.strategy == "train",
          "[--freeze] a network whose trunk is frozen can't grow: leave one of the two out");
  require(options.average_decay == 0.0, "[--freeze] a frozen trunk has no averages: leave --average-decay out");
  return options;
}

/// What the bits depend on: the device's kind, or the CPU's instruction set, but not the number of threads.
std::string arithmetic_of(const Backend& backend) {
  const std::string description = backend.description();
  return backend.name() + " " + description.substr(0, description.find(','));
}

bool any_on_trial(const SearchState& state) {
  return std::any_of(state.on_trial.begin(), state.on_trial.end(), [](const auto& blocks) { return !blocks.empty(); });
}

}  // namespace

SearchRun::SearchRun(Backend& backend, const RunData& data, const SearchOptions& options, const RunDirectory& directory,
                     Progress& progress, std::optional<CheckpointFile> saved)
    : backend_(backend),
      data_(data),
      options_(checked(settled(options, data))),
      directory_(directory),
      progress_(progress),
      total_work_(work_of(options_, data)),
      statistics_images_(evenly(data.train, kStatisticsImages)),
      all_images_(data.train),
      strategy_(make_strategy(options_, data, total_work_)),
      energy_(backend.name() == "cuda") {
  backend.expect_batch(options_.training.batch_size);  // also for what comes before the first step, as after any other
  all_images_.insert(all_images_.end(), data.validation.begin(), data.validation.end());
  std::sort(all_images_.begin(), all_images_.end());
  if (!saved && directory.has_checkpoint()) saved = read_checkpoint(directory.checkpoint());
  if (saved) {
    Checkpoint checkpoint = load_checkpoint(*saved, backend, options_.training.optimiser);
    state_ = checkpoint.state;
    check_same(state_);
    learner_ = std::move(checkpoint.learner);
    best_ = std::move(checkpoint.best);
    journal_ = std::make_unique<Journal>(directory.journal(), state_.journal_bytes);
    if (options_.rate_factor != state_.rate_factor) change_rate();
  } else {
    begin();
  }
}

SearchRun::~SearchRun() = default;

/// Going on gives the bits of never having stopped, so it must be with the same images and the same arithmetic.
void SearchRun::check_same(const SearchState& state) const {
  const std::string what = difference(state.data, data_.fingerprint);
  require(what.empty(), "[--resume] the data isn't what `", directory_.path(), "` began with: ", what);
  const std::string here = arithmetic_of(backend_);
  require(state.arithmetic == here || options_.any_device, "[--resume] `", directory_.path(), "` was computed by ",
          state.arithmetic, ", here it would go on by ", here,
          ", with other bits: allow that with --any-device, or go back there");
}

void SearchRun::change_rate() {
  log(rate_changed_event(options_.rate_factor, state_.rate_factor));
  state_.rate_factor = options_.rate_factor;
  save();
}

void SearchRun::begin() {
  state_.data = data_.fingerprint;
  state_.arithmetic = arithmetic_of(backend_);
  state_.rate_factor = options_.rate_factor;
  journal_ = std::make_unique<Journal>(directory_.journal());
  start_network(architecture_of(options_, data_, options_.start), total_work_);
  if (!options_.from.empty()) take_weights();
  if (options_.twin > 0) turn_last_bit(learner_.network->convolution("stem.conv").weight.value(), options_.twin - 1);
  const std::string config = RunDirectory::holds_file(directory_.config()) ? read_file(directory_.config()) : "";
  log(start_event(options_, data_, backend_.description(), total_work_, strategy_->plan(), config));
  save();
}

/// Begins with a finished network's weights, the blocks' names included.
void SearchRun::take_weights() {
  const Model model = load_model(backend_, options_.from, options_.variant, complain);
  const Architecture& found = model.network->architecture();
  Architecture wanted = architecture_of(options_, data_, options_.start);
  wanted.stages = found.stages;
  const auto sizes = [](const Architecture& of) {
    return concat(join(of.depths()), " for images ", of.height, "x", of.width, "x", of.channels, " of ", of.classes,
                  " classes");
  };
  Architecture alike = found;  // of what must be the same
  if (options_.transfer)
    std::tie(alike.classes, alike.height, alike.width) = std::tie(wanted.classes, wanted.height, wanted.width);
  require(found.depths() == options_.start && alike == wanted, "[--from] `", options_.from, "` holds a network ",
          sizes(found), "; expected ", sizes(wanted));
  require(options_.transfer || model.classes.empty() || model.classes == data_.classes, "[--from] `", options_.from,
          "` knows other classes than the data, or in another order");
  learner_.network = std::make_unique<Network>(backend_, wanted, state_.network_seed);
  Network& network = *learner_.network;
  const Tensor weight = network.classifier_weight().value().clone(), bias = network.classifier_bias().value().clone();
  network.copy_from(*model.network);
  if (!options_.transfer) return;
  backend_.copy(weight, network.classifier_weight().value());  // even where there are as many classes as before
  backend_.copy(bias, network.classifier_bias().value());
}

void SearchRun::start_network(const Architecture& architecture, std::int64_t work) {
  state_.network_seed = stream_of("network", options_.seed, static_cast<std::uint64_t>(state_.models));
  state_.models += 1;
  learner_ = {};
  learner_.network = std::make_unique<Network>(backend_, architecture, state_.network_seed);
  renew_optimiser();
  state_.schedule = {.begin = state_.work, .end = work};
  begin_pass();  // an epoch's loss is one network's
  state_.validated = false;
}

void SearchRun::renew_optimiser() {
  learner_.optimiser = make_optimiser(options_.training.optimiser);
  learner_.average.reset();
  if (options_.average_decay > 0.0) learner_.average.emplace(options_.average_decay);
}

const std::vector<std::int32_t>& SearchRun::training_images() const {
  return state_.held_out_joined ? all_images_ : data_.train;
}

void SearchRun::begin_pass() {
  if (state_.position.batch > 0) state_.position = {.pass = state_.position.pass + 1};
}

void SearchRun::join_held_out() {
  if (state_.held_out_joined || !data_.held_out_may_join()) return;
  state_.held_out_joined = true;
  begin_pass();
  log(held_out_join_event(std::ssize(data_.validation)));
}

bool SearchRun::step() {
  if (state_.phase == Phase::finished) return false;
  if (state_.phase == Phase::searched) {
    conclude();
  } else if (state_.work >= state_.stretch_end) {
    strategy_->next(*this);
  } else {
    train_on();
  }
  save();
  return true;
}

double SearchRun::rate() const {
  const ScheduleSpan& span = state_.schedule;
  const auto done = static_cast<double>(state_.work - span.begin), whole = static_cast<double>(span.end - span.begin);
  return state_.rate_factor * options_.training.schedule.at(std::clamp(done / whole, 0.0, 1.0));
}

void SearchRun::train_on() {
  const bool trial = any_on_trial(state_);
  const auto save_after = std::chrono::duration<double, std::ratio<60>>(options_.save_minutes);
  std::map<NetworkForm, std::int64_t> macs;
  bool interrupted = false, begun = false;
  const auto choose = [&](std::int64_t images) -> std::optional<StepChoice> {
    interrupted = is_interrupted();
    if (interrupted || state_.work >= state_.stretch_end) return {};
    if (begun && Clock::now() - last_save_ >= save_after) return {};
    begun = true;  // however often the run is saved, it gets on
    NetworkForm form = 0;
    if (trial) {
      form = drawn_form(state_.on_trial, options_.skip, options_.seed, state_.steps);
      take_form(*learner_.network, state_.on_trial, form);
    }
    const auto [known, fresh] = macs.try_emplace(form);
    if (fresh) known->second = cost_of(learner_.network->active_architecture()).total().macs;
    const StepChoice choice{.rate = rate(), .network_form = form};
    state_.work += training_work(known->second, images, options_.training.freeze_trunk);
    state_.steps += 1;
    state_.images_seen += images;
    return choice;
  };

  const std::string what = label();
  const auto show = [&](const PassProgress& progress) { progress_.pass(what, progress, time_left()); };
  const Clock::time_point began = Clock::now();
  const std::int64_t work_before = state_.work, images_before = state_.images_seen;
  PassResult result;
  const bool whole =
      train_pass(learner_, data_.images, training_images(), options_.training, state_.position, result, choose, show);
  if (trial) take_form(*learner_.network, state_.on_trial, 0);
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  forecast_.add(state_.work - work_before, seconds);
  if (whole) end_pass(result, what, static_cast<double>(state_.images_seen - images_before) / seconds);
  if (!interrupted) return;
  save();
  throw Interrupted();
}

void SearchRun::end_pass(const PassResult& result, const std::string& what, double images_per_second) {
  state_.passes += 1;
  state_.train_accuracy = result.accuracy();
  const bool watched = options_.strategy == "train" && !data_.validation.empty();
  if (watched) validate();
  log(epoch_event({.label = what,
                   .network = learner_.network->architecture(),
                   .result = result,
                   .rate = rate(),
                   .images_per_second = images_per_second,
                   .validated = watched,
                   .left = time_left()},
                  state_));
}

void SearchRun::with_averages(const std::function<void()>& look) {
  if (learner_.average) learner_.average->exchange(*learner_.network);
  look();
  if (learner_.average) learner_.average->exchange(*learner_.network);
}

void SearchRun::count_looking(std::int64_t work) {
  state_.work += work;
  state_.looking += work;
}

void SearchRun::validate() {
  if (data_.validation.empty() || state_.held_out_joined) return;
  Network& network = *learner_.network;
  with_averages([&] {
    if (learner_.average) estimate_running_statistics(network, data_.images, statistics_images_);
    // Ctrl-C waits for it: the pass that it follows has not been saved yet.
    const auto show = [&](const PassProgress& progress) {
      progress_.pass(label() + ", validation", progress, time_left());
    };
    const PassResult result = evaluate(network, data_.images, data_.validation, show);
    state_.validation_accuracy = result.accuracy();
    state_.validation_loss = result.loss;
    state_.validated = true;
  });
  count_looking(evaluation_work(network.architecture(), images_to_validate()));
}

std::int64_t SearchRun::images_to_validate() const {
  return std::ssize(data_.validation) + (learner_.average ? std::ssize(statistics_images_) : 0);
}

void SearchRun::keep_if_best() {
  if (!state_.validated || state_.validation_accuracy <= state_.best_validation) return;
  state_.best_validation = state_.validation_accuracy;
  with_averages([&] { best_ = learner_.network->clone(); });
}

PassCallback SearchRun::watch(const std::string& what) {
  return [=, this](const PassProgress& progress) {
    stop_if_interrupted();
    progress_.pass(what, progress, time_left());
  };
}

void SearchRun::stop(const std::string& reason) {
  const PassPosition& unfinished = state_.position;
  if (unfinished.images > 0) {
    state_.train_accuracy = static_cast<double>(unfinished.right) / static_cast<double>(unfinished.images);
  }
  state_.phase = Phase::searched;
  state_.stop_reason = reason;
  log(stop_event(reason, state_.work));
}

/// The averages take the weights' place for good, and a better network from before the last one's.
void SearchRun::settle_best() {
  if (learner_.average) {
    learner_.average->exchange(*learner_.network);
    learner_.average.reset();
    estimate_running_statistics(*learner_.network, data_.images, statistics_images_);
  }
  if (best_ && state_.validated && state_.best_validation > state_.validation_accuracy) {
    learner_.network = std::move(best_);
    state_.validation_accuracy = state_.best_validation;
    state_.kept_earlier = true;
  }
  best_.reset();
  state_.best_validation = -1.0;  // from here on there is one network
}

std::optional<PassResult> SearchRun::test() {
  const Images images = data_.load_test ? data_.load_test() : Images{};
  if (images.count() == 0) return {};
  log(test_opened_event(images.count()));
  const ImageStore store(backend_, images, data_.images.classes(), data_.normalisation, data_.images.feature_maps());
  const Predictions predictions =
      predict_all(InferenceNetwork(*learner_.network), store, all_indices(store.count()), watch("test set"));
  write_predictions(directory_.test_predictions(), predictions);
  return predictions.result();
}

/// A training can diverge in its very last steps, after the last loss that was looked at.
void SearchRun::check_end() const {
  const std::string lower = concat(" Try a lower --learning-rate than ", options_.training.schedule.peak);
  require_finite(*learner_.network, "the training diverged at its end." + lower + ". The network");
  const auto few = std::span(statistics_images_).first(std::min<std::size_t>(256, statistics_images_.size()));
  const double loss = evaluate(*learner_.network, data_.images, few).loss;
  require(is_sound(loss), "the training diverged at its end: the network's loss is ", loss, ".", lower);
}

void SearchRun::conclude() {
  settle_best();
  check_end();
  // What can still go wrong with the test set must not cost the network.
  write_results(directory_, *learner_.network, data_, summarise(state_, *learner_.network, data_, options_, {}));
  const std::optional<PassResult> tested = test();
  log(finished_event(learner_.network->architecture(), state_, backend_.description(), tested));
  write_file_atomically(directory_.summary(), summarise(state_, *learner_.network, data_, options_, tested));
  state_.phase = Phase::finished;
}

std::string SearchRun::label() const {
  const auto share = static_cast<double>(state_.work) / static_cast<double>(total_work_);
  return "epoch " + std::to_string(state_.passes + 1) + "  " + join(learner_.network->architecture().depths()) +
         (any_on_trial(state_) ? " on trial" : "") + "  " + fixed(100.0 * share, 0) + "% of the work";
}

std::string SearchRun::time_left() const { return forecast_.left(total_work_ - state_.work); }

void SearchRun::count_time() {
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - clock_).count();
  state_.seconds += seconds;
  clock_ = now;
  const std::optional<double> joules = energy_.take();
  if (!joules) return;
  state_.joules += *joules;
  state_.joules_seconds += seconds;
}

void SearchRun::log(Event event) {
  count_time();
  event.line["seconds"] = std::round(state_.seconds * 10.0) / 10.0;
  journal_->write(event.line);
  if (!event.text.empty()) progress_.line(event.text);
}

void SearchRun::save() {
  count_time();
  state_.journal_bytes = journal_->bytes();
  save_checkpoint(directory_.checkpoint(), state_, learner_, best_.get());
  last_save_ = Clock::now();
}

}  // namespace stagewise
