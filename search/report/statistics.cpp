#include "search/report/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unsupported/Eigen/SpecialFunctions>

#include "tensor/error.h"

namespace stagewise {

Sample sample_of(std::span<const double> values) {
  Sample sample{.count = static_cast<int>(values.size())};
  for (const double value : values) sample.mean += value / sample.count;
  double squares = 0.0;
  for (const double value : values) squares += (value - sample.mean) * (value - sample.mean);
  if (sample.count > 1) sample.deviation = std::sqrt(squares / (sample.count - 1));
  return sample;
}

double t_distribution(double t, double freedom) {
  if (!std::isfinite(t)) return t < 0.0 ? 0.0 : 1.0;
  // The regularised incomplete beta function is both tails' share (Abramowitz and Stegun 26.7.1).
  const double tails = Eigen::numext::betainc(freedom / 2.0, 0.5, freedom / (freedom + t * t));
  return t < 0.0 ? tails / 2.0 : 1.0 - tails / 2.0;
}

double t_quantile(double probability, double freedom) {
  if (probability < 0.5) return -t_quantile(1.0 - probability, freedom);
  double low = 0.0, high = 1.0;
  while (t_distribution(high, freedom) < probability && high < 1e15) high *= 2.0;
  while (true) {
    const double middle = (low + high) / 2.0;
    if (middle <= low || middle >= high) return middle;
    (t_distribution(middle, freedom) < probability ? low : high) = middle;
  }
}

double half_width(const Sample& sample, double confidence) {
  if (sample.count < 2) return std::numeric_limits<double>::infinity();
  return t_quantile(0.5 + confidence / 2.0, sample.count - 1) * sample.deviation / std::sqrt(sample.count);
}

double Difference::standard_error() const { return std::sqrt(seed_variance + image_variance); }

double Difference::half_width(double confidence) const {
  return t_quantile(0.5 + confidence / 2.0, freedom) * standard_error();
}

namespace {

/// Of p_a - p_b over the images, divided by their number: see Difference.
double image_variance(const ImageShares& a, const ImageShares& b) {
  const std::size_t images = a.right.size();
  std::vector<double> differences(images);
  double tosses = 0.0;
  for (std::size_t i = 0; i < images; ++i) {
    const double qa = a.right[i], qb = b.right[i];
    differences[i] = qa - qb;
    tosses += qa * (1.0 - qa) / (a.seeds - 1) + qb * (1.0 - qb) / (b.seeds - 1);
  }
  const double deviation = sample_of(differences).deviation;
  const auto count = static_cast<double>(images);
  return std::max(0.0, deviation * deviation - tosses / count) / count;
}

/// The chance that a t so far from 0, or further, comes up on this side.
double upper_tail(double distance, double standard_error, double freedom) {
  if (standard_error == 0.0) return distance > 0.0 ? 0.0 : distance < 0.0 ? 1.0 : 0.5;
  return t_distribution(-distance / standard_error, freedom);
}

}  // namespace

Difference difference_of(const Sample& a, const Sample& b, double margin, const ImageShares& a_shares,
                         const ImageShares& b_shares) {
  require(a.count >= 2 && b.count >= 2, "expected at least two seeds an arm to compare, got ", a.count, " and ",
          b.count);
  require(a_shares.right.size() == b_shares.right.size(), "expected predictions of the same images, got ",
          a_shares.right.size(), " and ", b_shares.right.size());
  const double va = a.deviation * a.deviation / a.count, vb = b.deviation * b.deviation / b.count;
  Difference difference{.mean = a.mean - b.mean, .seed_variance = va + vb, .margin = margin};
  const auto images = static_cast<double>(a_shares.right.size());
  if (images > 1) difference.image_variance = image_variance(a_shares, b_shares);
  const double vi = difference.image_variance;
  const double spread = va * va / (a.count - 1) + vb * vb / (b.count - 1) + (vi > 0.0 ? vi * vi / (images - 1) : 0.0);
  const double total = va + vb + vi;
  // Without any spread it doesn't matter, as nothing is uncertain.
  difference.freedom = spread > 0.0 ? total * total / spread : a.count + b.count - 2;
  const double error = difference.standard_error();
  const auto tail = [&](double distance) { return upper_tail(distance, error, difference.freedom); };
  difference.p = std::min(1.0, 2.0 * tail(std::abs(difference.mean)));
  difference.p_equivalent = tail(margin - std::abs(difference.mean));  // the nearer of the two bounds
  return difference;
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return p[i] < p[j]; });
  std::vector<double> corrected(p.size());
  double largest = 0.0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    largest = std::max(largest, std::min(1.0, static_cast<double>(p.size() - rank) * p[order[rank]]));
    corrected[order[rank]] = largest;
  }
  return corrected;
}

std::string verdict(double mean, double p, double p_equivalent, double level) {
  if (p_equivalent < level) return "a tie";
  if (p < level) return mean > 0.0 ? "better" : "worse";
  return "not settled";
}

}  // namespace stagewise
