// Partial least squares regression of one-hot labels on features (PLS2, by NIPALS), from moments alone.
//
// Each component is a direction w in feature space whose scores t = X w have the greatest covariance with the labels;
// what t explains is then taken out of X and Y. Wegelin 2000, "A survey of partial least squares methods", section 5.
// The same numbers as scikit-learn's PLSRegression, which needs X itself.
#pragma once

#include "search/criteria/criterion.h"

namespace stagewise {

struct PlsOptions {
  int components = 2;
  /// NIPALS finds a direction by power iteration, and ends when the square of a step falls below this. It shows from
  /// the sixth digit of a score on, so comparing with another program's needs that program's tolerance.
  double tolerance = 1e-10;
  int iterations = 5000;  // at most, for each component
};

struct Pls {
  Eigen::MatrixXd weights;    // [P,H]: unit columns, one for each component; their signs mean nothing
  Eigen::VectorXd explained;  // [H]: share of the standardised labels' variance that the component explains
};

/// Fits at most `options.components` components to standardised features and labels (a column that is constant stays
/// 0). Fewer come out where the data has no more to explain, down to none: with fewer than two images, a single class,
/// or features that are constant or unrelated to the labels. Errors: as scatter_of; throws Error when an option is not
/// positive.
Pls fit_pls(const Moments& moments, const PlsOptions& options = {});

/// Variable importance in projection of each feature [P]: its share of the weights, each component counted by what it
/// explains of the labels (Wold, Johansson, Cocchi 1993). The mean of the squares is 1. All 0 without components.
Eigen::VectorXd variable_importance(const Pls& pls);

/// R2Y: the share of the standardised labels' variance that all components explain, in 0..1.
double explained_variance(const Pls& pls);

}  // namespace stagewise
