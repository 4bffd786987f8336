#include "search/trial.h"

#include <cmath>

#include "search/importance.h"
#include "search/work.h"
#include "tensor/random.h"

namespace stagewise {

namespace {

constexpr const char* kAblation = "ablation";
constexpr double kNinetyFivePercent = 1.96;

// The deviation of an ablation score over trainings of one network: a floor, and a share of the score. Over seeds it
// was that much (bench/SEARCH.md); twins, which differ in one bit of one weight, would be nearer to what is meant.
constexpr double kTwinFloor = 0.002, kTwinShare = 0.15;

StageScore with_interval(double value, double error) {
  return {value, value - kNinetyFivePercent * error, value + kNinetyFivePercent * error};
}

/// Mean and standard error of a - b, image by image.
StageScore paired_difference(const std::vector<float>& a, const std::vector<float>& b) {
  const auto images = static_cast<double>(a.size());
  double sum = 0.0, squares = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) - static_cast<double>(b[i]);
  const double mean = sum / images;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double off = static_cast<double>(a[i]) - static_cast<double>(b[i]) - mean;
    squares += off * off;
  }
  const double over_images = squares / (images * std::max(1.0, images - 1.0));
  const double over_trainings = kTwinFloor * kTwinFloor + kTwinShare * kTwinShare * mean * mean;
  return with_interval(mean, std::sqrt(over_images + over_trainings));
}

/// Calls visit(stage, form) with the network in each stage's form, running statistics estimated for it.
template <class Visit>
void for_each_form(Network& network, const BlocksOnTrial& on_trial, const TrialImages& images, const Visit& visit) {
  for (std::size_t stage = 0; stage < on_trial.size(); ++stage) {
    if (on_trial[stage].empty()) continue;
    take_form(network, on_trial, NetworkForm{1} << stage);
    estimate_running_statistics(network, images.images, images.statistics);
    visit(stage);
  }
  take_form(network, on_trial, 0);
}

std::vector<StageScore> score_by_ablation(Network& network, const BlocksOnTrial& on_trial, const TrialImages& images,
                                          const PassCallback& callback) {
  require(!images.held_out.empty(),
          "[--criterion] ablation measures on held-out images, and there are none: give --validation a share");
  const auto losses = [&] {
    return predict_all(InferenceNetwork(network), images.images, images.held_out, callback).loss;
  };
  take_form(network, on_trial, 0);
  estimate_running_statistics(network, images.images, images.statistics);
  const std::vector<float> whole = losses();
  std::vector<StageScore> scores(on_trial.size());
  for_each_form(network, on_trial, images,
                [&](std::size_t stage) { scores[stage] = paired_difference(losses(), whole); });
  return scores;
}

}  // namespace

void take_form(Network& network, const BlocksOnTrial& on_trial, NetworkForm form) {
  for (std::size_t stage = 0; stage < on_trial.size(); ++stage) {
    for (const std::int64_t number : on_trial[stage]) network.skip(stage, number, (form >> stage & 1) != 0);
  }
}

NetworkForm drawn_form(const BlocksOnTrial& on_trial, double probability, std::uint64_t seed, std::int64_t step) {
  const Random random(seed, stream_of("skipped blocks", static_cast<std::uint64_t>(step)));
  NetworkForm form = 0;
  for (std::size_t stage = 0; stage < on_trial.size(); ++stage) {
    if (!on_trial[stage].empty() && random.uniform(stage) < probability) form |= NetworkForm{1} << stage;
  }
  return form;
}

std::vector<StageScore> score_trial(Network& network, const BlocksOnTrial& on_trial, const TrialImages& images,
                                    const std::string& criterion, std::uint64_t seed, std::int64_t round,
                                    const PassCallback& callback) {
  if (criterion == kAblation) return score_by_ablation(network, on_trial, images, callback);
  const std::unique_ptr<Criterion> judge = make_criterion(criterion);
  const auto score_all = [&] {
    return score_stages(network, images.images, images.training, images.held_out, *judge, seed, round, callback);
  };
  take_form(network, on_trial, 0);
  estimate_running_statistics(network, images.images, images.statistics);
  const std::vector<ReplicatedScore> whole = score_all();
  std::vector<StageScore> scores(on_trial.size());
  for_each_form(network, on_trial, images, [&](std::size_t stage) {
    const ReplicatedScore without = score_all()[stage];
    std::vector<double> differences;
    for (std::size_t part = 0; part < without.without_part.size(); ++part) {
      differences.push_back(whole[stage].without_part[part] - without.without_part[part]);
    }
    scores[stage] = with_interval(whole[stage].value - without.value, jackknife_error(differences));
  });
  return scores;
}

std::int64_t scoring_work(const Network& network, const BlocksOnTrial& on_trial, const TrialImages& images,
                          const std::string& criterion) {
  std::int64_t forms = 1;
  for (const auto& blocks : on_trial) forms += blocks.empty() ? 0 : 1;
  std::size_t looked_at = images.statistics.size();
  if (criterion == kAblation || make_criterion(criterion)->needs_validation()) looked_at += images.held_out.size();
  if (criterion != kAblation && make_criterion(criterion)->needs_moments()) looked_at += images.training.size();
  return forms * evaluation_work(network.architecture(), static_cast<std::int64_t>(looked_at));
}

std::vector<std::string> trial_criterion_names() {
  std::vector<std::string> names = criterion_names();
  names.insert(names.begin(), kAblation);
  return names;
}

}  // namespace stagewise
