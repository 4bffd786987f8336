#include "search/training/temperature.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace stagewise {

namespace {

constexpr double kHottest = 100.0;

/// Of one image: its loss at 1 / temperature = beta, and the loss's slope over beta, the mean logit less the label's.
struct AtBeta {
  double loss = 0.0, slope = 0.0;
};

AtBeta at_beta(std::span<const double> logits, std::size_t label, double beta) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0, weighted = 0.0;
  for (const double logit : logits) {
    const double weight = std::exp(beta * (logit - largest));
    sum += weight;
    weighted += weight * logit;
  }
  return {.loss = std::log(sum) - beta * (logits[label] - largest), .slope = weighted / sum - logits[label]};
}

AtBeta mean_at(const Judgements& judgements, double beta) {
  const auto classes = static_cast<std::size_t>(judgements.classes), images = judgements.labels.size();
  AtBeta mean;
  for (std::size_t i = 0; i < images; ++i) {
    const AtBeta one = at_beta(std::span(judgements.logits).subspan(i * classes, classes),
                               static_cast<std::size_t>(judgements.labels[i]), beta);
    mean.loss += one.loss / static_cast<double>(images);
    mean.slope += one.slope / static_cast<double>(images);
  }
  return mean;
}

}  // namespace

Judgements judgements_of(const InferenceNetwork& network, const ImageStore& images,
                         std::span<const std::int32_t> indices, const PassCallback& callback) {
  Judgements judgements{.classes = images.classes(), .logits = {}, .labels = {}};
  for_each_batch(images, indices, [&](const Batch& batch) {
    const std::vector<double> logits = network.logits(batch.x).to_doubles();
    const auto labels = batch.labels.to_host<std::int32_t>();
    judgements.logits.insert(judgements.logits.end(), logits.begin(), logits.end());
    judgements.labels.insert(judgements.labels.end(), labels.begin(), labels.end());
    if (!callback) return;
    callback({.images_done = std::ssize(judgements.labels), .images_total = std::ssize(indices)});
  });
  return judgements;
}

double loss_at(const Judgements& judgements, double temperature) { return mean_at(judgements, 1.0 / temperature).loss; }

double fit_temperature(const Judgements& judgements) {
  require(!judgements.labels.empty(), "[temperature] expected images to fit it on, got none");
  // The loss is convex in 1 / temperature: where its slope turns from falling to rising is the only lowest place.
  double low = 1.0 / kHottest, high = kHottest;
  for (int halving = 0; halving < 50; ++halving) {
    const double middle = std::sqrt(low * high);
    (mean_at(judgements, middle).slope < 0.0 ? low : high) = middle;
  }
  return 1.0 / std::sqrt(low * high);
}

}  // namespace stagewise
