// What a few seeds allow to be said: means with intervals, differences, and when two things are as good as equal.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace stagewise {

/// Values of one kind, such as the accuracies of an arm's seeds.
struct Sample {
  int count = 0;
  double mean = 0.0;
  double deviation = 0.0;  // the unbiased variance's root (count - 1); 0 for one value
};
Sample sample_of(std::span<const double> values);

/// Student's t distribution with `freedom` > 0 degrees, which need not be whole: the probability of a value up to `t`.
double t_distribution(double t, double freedom);
/// Its inverse, for probabilities in 0..1, both excluded.
double t_quantile(double probability, double freedom);

/// Half the width of the interval that covers the mean at `confidence` (Student's, count - 1 degrees of freedom).
/// Infinite for one value.
double half_width(const Sample& sample, double confidence = 0.95);

/// How often an arm's seeds were right on each image of the test set: what is needed to tell how much of a difference
/// is owed to the images that happen to be in it.
struct ImageShares {
  int seeds = 0;
  std::vector<double> right;  // an image: the share of the seeds that were right, 0..1
};

/// The difference of two arms' mean accuracies, and what it may be off by.
///
/// The model. Seed s of arm a is right on image i (r = 1) or not; image i has, in arm a, the chance p_ai over the
/// training's draws. What is wanted is the mean over all images there could be of p_ai - p_bi. Estimated from n_a and
/// n_b seeds on M images that all of them share, its variance has two parts (the law of total variance, given the
/// images):
///  - **seeds**, given the images: s_a^2 / n_a + s_b^2 / n_b, where s_a^2 is the variance of the accuracies over seeds
///    (Welch 1947). As all seeds see the same images, it holds every image's coin toss p(1 - p), and what errors of a
///    training have in common;
///  - **images**: Var_i(p_ai - p_bi) / M, paired, since both arms see the same images. The variance over the images of
///    the shares' difference d_i overstates it: d_i tosses the coins too, whose part, the mean over images of
///    q_a(1 - q_a) / (n_a - 1) + q_b(1 - q_b) / (n_b - 1) with shares q, is in the seeds' part already and is taken off
///    (not below 0).
/// Degrees of freedom by Satterthwaite (1946) over the three variances, the images' with M - 1.
struct Difference {
  double mean = 0.0;            // arm a minus arm b
  double seed_variance = 0.0;   // of the mean
  double image_variance = 0.0;  // of the mean; 0 where there are no predictions
  double freedom = 0.0;
  double p = 1.0;             // two-sided, of no difference (the smaller, the less likely by chance)
  double p_equivalent = 1.0;  // of a difference of `margin` or more, either way (TOST, Schuirmann 1987)
  double margin = 0.0;

  double standard_error() const;
  double half_width(double confidence = 0.95) const;
};

/// Both samples of at least two values; both shares of the same images, or both empty: then there is no images' part.
/// Errors: throws Error otherwise.
Difference difference_of(const Sample& a, const Sample& b, double margin, const ImageShares& a_shares = {},
                         const ImageShares& b_shares = {});

/// Holm's (1979) correction: p-values that may each be held against a level as if there were no others, the chance of
/// any false alarm among them all kept. In the order of `p`.
std::vector<double> holm(std::span<const double> p);

/// `a tie` when the difference lies within the margin (p_equivalent under the level, even if it is surely not 0), else
/// `better` or `worse` (p under the level; of arm a), else `not settled`. Pass corrected p-values where there are
/// several differences.
std::string verdict(double mean, double p, double p_equivalent, double level = 0.05);

}  // namespace stagewise
