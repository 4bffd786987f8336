// Arms of an experiment beside each other: is one better, or are they as good as equal, and how sure is that?
// The statistics are report/statistics.h's; accuracies are those on the test set.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "search/report/finished_run.h"
#include "search/report/statistics.h"

namespace stagewise {

/// One way to train or to search, and its runs with different seeds.
struct Arm {
  std::string name;
  std::vector<FinishedRun> runs;
  ImageShares shares;  // empty unless every run kept its predictions, and all runs saw the same test images

  /// The accuracies as shares of 1.
  std::vector<double> accuracies() const;
};

struct Arms {
  std::vector<Arm> arms;
  std::vector<std::string> left_out;  // runs that are not finished
};

/// The arms that these words name, each of them
///  - a folder of runs called seed-*, which is an arm of the folder's name,
///  - a folder of such folders (a sweep's), which is all of them in the alphabet's order,
///  - a run, which is an arm of one, or
///  - NAME=FOLDER,FOLDER,...: one arm of these runs, or folders of runs called seed-*.
/// Where runs were tested on different images (synthetic data are drawn from the seed), seeds and images vary together,
/// and Welch's interval alone holds both: there are no shares then.
/// Errors: throws Error for anything else, an arm without a finished run, a run without a test accuracy, or two arms of
/// one name.
Arms read_arms(const std::vector<std::string>& words);

struct ComparisonOptions {
  std::string against;    // compare every arm with this one; empty: every pair
  double margin = 0.002;  // differences up to this are as good as none, a share of 1
};

/// Two arms; `difference` is empty where one of them has fewer than two runs.
struct Pair {
  std::size_t a = 0, b = 0;
  std::optional<Difference> difference;
  double p = 1.0, p_equivalent = 1.0;  // corrected for the number of pairs (Holm), each kind by itself
  std::string verdict = "not settled";
};

struct Comparison {
  std::vector<Arm> arms;
  std::vector<Pair> pairs;
  ComparisonOptions options;
  bool has_images = false;  // the intervals hold the images' part, in every pair
};

/// Errors: throws Error when `against` is no arm.
Comparison compare(std::vector<Arm> arms, const ComparisonOptions& options = {});

/// The arms, the pairs, and what the numbers mean, to be read.
std::string comparison_text(const Comparison& comparison);
/// Everything in one table: a line for each run (kind `run`, b is its folder), each arm (`arm`) and each pair
/// (`difference`): kind,a,b,runs,mean,low,high,deviation,p,p_equivalent,verdict,work,seconds. Shares of 1; low and high
/// bound the 95% interval.
std::string comparison_csv(const Comparison& comparison);
/// What gnuplot needs to draw accuracy over work into `out`, an SVG: each run, each arm's mean and its 95% interval.
/// Errors: throws Error when no run's work is known.
std::string comparison_picture(const Comparison& comparison, const std::string& out);

}  // namespace stagewise
