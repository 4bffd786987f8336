// Partial least squares regression of one-hot labels on features (PLS2), from moments alone.
//
// Each component is a direction w in feature space whose scores t = X w have the greatest covariance with the labels:
// the dominant left singular vector of X^T Y, which an eigenproblem of the classes' size gives exactly. What t explains
// is then taken out of X and Y. Wegelin 2000, "A survey of partial least squares methods", section 5.
// The same numbers as scikit-learn's PLSRegression, which needs X itself and stops its power iteration earlier.
#pragma once

#include "search/criteria/criterion.h"

namespace stagewise {

struct PlsOptions {
  int components = 2;
};

struct Pls {
  Eigen::MatrixXd weights;    // [P,H]: unit columns, one for each component
  Eigen::VectorXd explained;  // [H]: share of the standardised labels' variance that the component explains
};

/// Fits at most `options.components` components to standardised features and labels (a column that is constant stays
/// 0). Fewer come out where the data has no more to explain, down to none: with fewer than two images, a single class,
/// or features that are constant or unrelated to the labels. The order of the classes doesn't matter. Where several
/// directions have the same greatest covariance (equal singular values, as on one-hot features), the one nearest to a
/// single feature is taken, the first of equally near ones: there the order of the features decides. Errors: as
/// scatter_of; throws Error without a component to fit.
Pls fit_pls(const Moments& moments, const PlsOptions& options = {});

/// Variable importance in projection of each feature [P]: its share of the weights, each component counted by what it
/// explains of the labels (Wold, Johansson, Cocchi 1993). The mean of the squares is 1. All 0 without components.
Eigen::VectorXd variable_importance(const Pls& pls);

/// R2Y: the share of the standardised labels' variance that all components explain, in 0..1.
double explained_variance(const Pls& pls);

}  // namespace stagewise
