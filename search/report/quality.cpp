#include "search/report/quality.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tensor/error.h"

namespace stagewise {

namespace {

void check_confidence(const Predictions& predictions) {
  require(predictions.confidence.size() == predictions.labels.size(),
          "the predictions say nothing of confidence: an earlier version wrote them");
}

}  // namespace

Share share_of(std::int64_t count, std::int64_t of) {
  Share share{.count = count, .of = of};
  if (of == 0) return share;
  constexpr double z = 1.959964;  // the normal distribution's quantile of 97.5%
  const auto n = static_cast<double>(of);
  const double p = share.value(), centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
  const double half = z / (1.0 + z * z / n) * std::sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n));
  share.lower = std::max(0.0, centre - half);
  share.upper = std::min(1.0, centre + half);
  return share;
}

std::vector<Share> share_by_class(const Predictions& predictions, std::int64_t classes) {
  std::vector<std::int64_t> right(static_cast<std::size_t>(classes)), all(right.size());
  for (std::size_t image = 0; image < predictions.labels.size(); ++image) {
    const auto label = static_cast<std::size_t>(predictions.labels[image]);
    require(label < all.size(), "an image has label ", label, ", and there are ", classes, " classes");
    all[label] += 1;
    right[label] += predictions.is_right(image) ? 1 : 0;
  }
  std::vector<Share> shares;
  for (std::size_t label = 0; label < all.size(); ++label) shares.push_back(share_of(right[label], all[label]));
  return shares;
}

std::vector<Confusion> confusions(const Predictions& predictions) {
  std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t> counts;
  for (std::size_t image = 0; image < predictions.labels.size(); ++image) {
    if (!predictions.is_right(image)) counts[{predictions.labels[image], predictions.predicted[image]}] += 1;
  }
  std::vector<Confusion> answers;
  for (const auto& [pair, images] : counts) answers.push_back({pair.first, pair.second, images});
  std::stable_sort(answers.begin(), answers.end(),
                   [](const Confusion& a, const Confusion& b) { return a.images > b.images; });
  return answers;
}

Reliability reliability_of(const Predictions& predictions, int bins) {
  check_confidence(predictions);
  Reliability calibration;
  for (int bin = 0; bin < bins; ++bin) {
    calibration.bins.push_back({.from = static_cast<double>(bin) / bins, .to = static_cast<double>(bin + 1) / bins});
  }
  for (std::size_t image = 0; image < predictions.labels.size(); ++image) {
    const double confidence = predictions.confidence[image];
    const int bin = std::clamp(static_cast<int>(confidence * bins), 0, bins - 1);
    ConfidenceBin& of = calibration.bins[static_cast<std::size_t>(bin)];
    of.right.of += 1;
    of.right.count += predictions.is_right(image) ? 1 : 0;
    of.confidence += confidence;
    calibration.mean_confidence += confidence / static_cast<double>(predictions.images());
  }
  for (ConfidenceBin& bin : calibration.bins) {
    if (bin.right.of == 0) continue;
    bin.confidence /= static_cast<double>(bin.right.of);
    bin.right = share_of(bin.right.count, bin.right.of);
    const double share = static_cast<double>(bin.right.of) / static_cast<double>(predictions.images());
    calibration.expected_error += share * std::abs(bin.right.value() - bin.confidence);
  }
  return calibration;
}

std::vector<std::size_t> surest_mistakes(const Predictions& predictions, std::size_t count) {
  check_confidence(predictions);
  std::vector<std::size_t> wrong;
  for (std::size_t image = 0; image < predictions.labels.size(); ++image) {
    if (!predictions.is_right(image)) wrong.push_back(image);
  }
  std::stable_sort(wrong.begin(), wrong.end(),
                   [&](std::size_t a, std::size_t b) { return predictions.confidence[a] > predictions.confidence[b]; });
  wrong.resize(std::min(wrong.size(), count));
  return wrong;
}

}  // namespace stagewise
