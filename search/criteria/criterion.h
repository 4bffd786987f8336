// The importance of a stage. One criterion is one small file; a new one is added to the table in criterion.cpp.
//
// A criterion judges one stage of one network by a number. The search compares the numbers with and without a stage's
// new blocks (search/trial.h); the paper's strategy those before and after every stage is made deeper
// (search/growth.h).
#pragma once

#include <Eigen/Dense>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace stagewise {

/// Sums over images of a stage's features x [P] and one-hot labels: one pass, no N x P matrix.
struct Moments {
  double images = 0;
  Eigen::VectorXd sum;           // [P]
  Eigen::MatrixXd products;      // [P,P]: sum of x x^T
  Eigen::MatrixXd class_sums;    // [P,K]: sum of x by class
  Eigen::VectorXd class_counts;  // [K]
};

/// Sums of products about the means: those of the features, and of the features with the one-hot labels.
struct Scatter {
  Eigen::MatrixXd features;  // [P,P]
  Eigen::MatrixXd labels;    // [P,K]
};

/// The moments about the means. A feature's variance that is below 1e-10 of its mean square is the rounding of the
/// sums; the feature counts as constant, and its rows and columns are 0. Without images all is 0. Errors: throws Error
/// when the shapes disagree, or when a sum is not finite (training has diverged).
Scatter scatter_of(const Moments& moments);

/// What a criterion may look at for one stage.
struct StageEvidence {
  std::int64_t stage = 0;  // counts from 0
  /// Blocks of the stage in the network that is judged.
  std::int64_t depth = 0;
  /// Which decision of the search the score is for. All scores of a decision have the same round.
  std::int64_t round = 0;
  /// Moments over the training images, not augmented. Empty for criteria that don't ask for them.
  Moments train;
  /// Over the held-out validation images: the share, in 0..1, that a linear classifier gets right, with the features'
  /// scores weights^T x + bias ([P,K], [K]); asks the caller to run over them.
  std::function<double(const Eigen::MatrixXd& weights, const Eigen::VectorXd& bias)> validation_accuracy;
  std::uint64_t seed = 0;  // for criteria that draw
};

class Criterion {
 public:
  virtual ~Criterion() = default;
  virtual std::string name() const = 0;
  /// One line for --help.
  virtual std::string description() const = 0;
  /// Whether `StageEvidence::train` must be gathered.
  virtual bool needs_moments() const = 0;
  /// Whether it judges what it fits on held-out images.
  virtual bool needs_validation() const { return false; }
  /// The higher, the more the stage matters. Never NaN.
  virtual double score(const StageEvidence& evidence) const = 0;
};

/// The criteria by name: vip, r2y, probe, random, uniform.
std::vector<std::string> criterion_names();
/// Errors: throws Error for an unknown name, listing the known ones.
std::unique_ptr<Criterion> make_criterion(const std::string& name);

/// Mean VIP of a PLS regression of the labels on the features, two components: the paper's criterion. See vip.cpp.
std::unique_ptr<Criterion> make_vip();
/// Share of the labels' variance that the same regression explains.
std::unique_ptr<Criterion> make_r2y();
/// Validation accuracy of a linear classifier on the stage's features, fitted by ridge regression.
std::unique_ptr<Criterion> make_probe();
/// A control: in each round each stage's score rises or falls by chance, whatever the images.
std::unique_ptr<Criterion> make_random();
/// A control: the score is the depth, so every stage's rises in every round.
std::unique_ptr<Criterion> make_uniform();

}  // namespace stagewise
