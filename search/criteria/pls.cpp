#include "search/criteria/pls.h"

#include <Eigen/Eigenvalues>
#include <cmath>

#include "tensor/error.h"

namespace stagewise {

namespace {

// Below this share of the whole, what is left after deflation is rounding.
constexpr double kNothingLeft = 1e-10;
// What differs by less than this share of itself counts as equal.
constexpr double kTie = 1e-9;

/// 1 / sqrt(x) for each element; 0 where x is 0, which keeps constant columns at 0.
Eigen::VectorXd inverse_root(const Eigen::VectorXd& x) {
  return x.unaryExpr([](double value) { return value > 0 ? 1 / std::sqrt(value) : 0.0; });
}

/// The cross products' [P,K] dominant left singular vector, from the K x K eigenproblem of their squares: unlike a
/// power iteration it has no start that would favour a class. Its sign makes the largest element positive.
Eigen::VectorXd dominant_direction(const Eigen::MatrixXd& cross) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> squares(cross.transpose() * cross);
  const Eigen::VectorXd& values = squares.eigenvalues();  // ascending
  Eigen::Index tied = 1;
  while (tied < values.size() && values(values.size() - 1 - tied) >= (1 - kTie) * values(values.size() - 1)) ++tied;
  Eigen::MatrixXd directions = cross * squares.eigenvectors().rightCols(tied);
  directions.colwise().normalize();
  const Eigen::VectorXd lengths = directions.rowwise().squaredNorm();  // of each feature's projection on their space
  Eigen::Index feature = 0;
  while (lengths(feature) < (1 - kTie) * lengths.maxCoeff()) ++feature;
  return (directions * directions.row(feature).transpose()).normalized();
}

}  // namespace

Pls fit_pls(const Moments& moments, const PlsOptions& options) {
  require(options.components > 0, "[pls] expected at least 1 component, got ", options.components);
  const Scatter scatter = scatter_of(moments);
  const Eigen::Index features = scatter.features.rows();
  Eigen::VectorXd label_scatter = Eigen::VectorXd::Zero(moments.class_counts.size());
  if (moments.images > 0) {
    label_scatter = moments.class_counts.array() * (1 - moments.class_counts.array() / moments.images);
  }
  // Standardised to columns of unit length instead of unit variance: the factor N - 1 cancels in all that is returned.
  const Eigen::VectorXd feature_scale = inverse_root(scatter.features.diagonal());
  const Eigen::VectorXd label_scale = inverse_root(label_scatter);
  Eigen::MatrixXd within = feature_scale.asDiagonal() * scatter.features * feature_scale.asDiagonal();  // X^T X
  Eigen::MatrixXd cross = feature_scale.asDiagonal() * scatter.labels * label_scale.asDiagonal();       // X^T Y
  const double all_labels = static_cast<double>((label_scatter.array() > 0).count());
  const double all_cross = std::sqrt(all_labels * within.trace());  // what |X^T Y| can't exceed

  Pls pls{Eigen::MatrixXd(features, options.components), Eigen::VectorXd(options.components)};
  int found = 0;
  for (; found < options.components && cross.norm() > kNothingLeft * all_cross; ++found) {
    const Eigen::VectorXd direction = dominant_direction(cross);
    const Eigen::VectorXd projected = within * direction;  // X^T t, of the scores t = X w
    const double variance = direction.dot(projected);      // t^T t
    if (variance <= kNothingLeft) break;
    const Eigen::VectorXd label_product = cross.transpose() * direction;  // Y^T t
    pls.weights.col(found) = direction;
    pls.explained(found) = label_product.squaredNorm() / variance / all_labels;
    // X loses t p^T with p = X^T t / t^T t, and Y likewise: t is orthogonal to what is left.
    within -= projected * projected.transpose() / variance;
    cross -= projected * label_product.transpose() / variance;
  }
  pls.weights.conservativeResize(features, found);
  pls.explained.conservativeResize(found);
  return pls;
}

Eigen::VectorXd variable_importance(const Pls& pls) {
  const auto features = static_cast<double>(pls.weights.rows());
  if (pls.explained.size() == 0) return Eigen::VectorXd::Zero(pls.weights.rows());
  return (features / pls.explained.sum() * (pls.weights.cwiseAbs2() * pls.explained)).cwiseSqrt();
}

double explained_variance(const Pls& pls) { return pls.explained.sum(); }

}  // namespace stagewise
