#include "search/report/compare.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace stagewise {

namespace {

Pair pair_of(const std::vector<Arm>& arms, std::size_t a, std::size_t b, double margin) {
  Pair pair{.a = a, .b = b, .difference = {}};
  const Sample in_a = sample_of(arms[a].accuracies()), in_b = sample_of(arms[b].accuracies());
  if (in_a.count < 2 || in_b.count < 2) return pair;
  const bool images = !arms[a].shares.right.empty() && !arms[b].shares.right.empty();
  pair.difference =
      images ? difference_of(in_a, in_b, margin, arms[a].shares, arms[b].shares) : difference_of(in_a, in_b, margin);
  return pair;
}

/// Fills in what depends on how many pairs there are.
void judge(std::vector<Pair>& pairs) {
  std::vector<Pair*> known;
  std::vector<double> p, p_equivalent;
  for (Pair& pair : pairs) {
    if (!pair.difference) continue;
    known.push_back(&pair);
    p.push_back(pair.difference->p);
    p_equivalent.push_back(pair.difference->p_equivalent);
  }
  p = holm(p);
  p_equivalent = holm(p_equivalent);
  for (std::size_t i = 0; i < known.size(); ++i) {
    known[i]->p = p[i];
    known[i]->p_equivalent = p_equivalent[i];
    known[i]->verdict = verdict(known[i]->difference->mean, p[i], p_equivalent[i]);
  }
}

}  // namespace

std::vector<double> Arm::accuracies() const {
  std::vector<double> accuracies;
  for (const FinishedRun& run : runs) accuracies.push_back(run.test_accuracy.value());
  return accuracies;
}

Comparison compare(std::vector<Arm> arms, const ComparisonOptions& options) {
  Comparison comparison{.arms = std::move(arms), .pairs = {}, .options = options};
  const std::vector<Arm>& all = comparison.arms;
  const auto reference =
      std::find_if(all.begin(), all.end(), [&](const Arm& arm) { return arm.name == options.against; });
  require(options.against.empty() || reference != all.end(), "[--against] there is no arm `", options.against, "`");
  for (std::size_t a = 0; a < all.size(); ++a) {
    for (std::size_t b = 0; b < all.size(); ++b) {
      const bool wanted = reference == all.end() ? a < b : a != b && all[b].name == options.against;
      if (wanted) comparison.pairs.push_back(pair_of(all, a, b, options.margin));
    }
  }
  judge(comparison.pairs);
  comparison.has_images = std::all_of(all.begin(), all.end(), [](const Arm& arm) { return !arm.shares.right.empty(); });
  return comparison;
}

}  // namespace stagewise
