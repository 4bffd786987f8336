#include "search/criteria/criterion.h"

#include "tensor/error.h"

namespace stagewise {

namespace {

constexpr std::unique_ptr<Criterion> (*kCriteria[])() = {make_vip, make_r2y, make_probe, make_random, make_uniform};
// Of variance over mean square: what a million equal numbers, added one by one in double, can leave.
constexpr double kRounding = 1e-10;

void check(const Moments& moments) {
  const auto features = moments.sum.size(), classes = moments.class_counts.size();
  require(moments.products.rows() == features && moments.products.cols() == features &&
              moments.class_sums.rows() == features && moments.class_sums.cols() == classes,
          "[criterion] expected products [", features, ",", features, "] and class sums [", features, ",", classes,
          "], got [", moments.products.rows(), ",", moments.products.cols(), "] and [", moments.class_sums.rows(), ",",
          moments.class_sums.cols(), "]");
  require(moments.sum.allFinite() && moments.products.allFinite() && moments.class_sums.allFinite(),
          "[criterion] expected finite features, got infinite ones or NaN: training has diverged; try a lower learning "
          "rate");
}

}  // namespace

Scatter scatter_of(const Moments& moments) {
  check(moments);
  const auto features = moments.sum.size(), classes = moments.class_counts.size();
  if (moments.images <= 0) {
    return {Eigen::MatrixXd::Zero(features, features), Eigen::MatrixXd::Zero(features, classes)};
  }
  const Eigen::VectorXd mean = moments.sum / moments.images;
  Scatter scatter{moments.products - mean * moments.sum.transpose(),
                  moments.class_sums - mean * moments.class_counts.transpose()};
  for (Eigen::Index j = 0; j < features; ++j) {
    if (scatter.features(j, j) > kRounding * moments.products(j, j)) continue;
    scatter.features.row(j).setZero();
    scatter.features.col(j).setZero();
    scatter.labels.row(j).setZero();
  }
  return scatter;
}

std::vector<std::string> criterion_names() {
  std::vector<std::string> names;
  for (const auto make : kCriteria) names.push_back(make()->name());
  return names;
}

std::unique_ptr<Criterion> make_criterion(const std::string& name) {
  std::string known;
  for (const auto make : kCriteria) {
    auto criterion = make();
    if (criterion->name() == name) return criterion;
    known += (known.empty() ? "" : ", ") + criterion->name();
  }
  fail("[criterion] expected one of ", known, "; got '", name, "'");
}

}  // namespace stagewise
