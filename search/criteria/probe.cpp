// How well a linear classifier tells the classes apart by the stage's features (Alain and Bengio 2016, "Understanding
// intermediate layers using linear classifier probes"). Ridge regression of the one-hot labels has a closed form in the
// moments, so there is nothing to train.
#include "search/criteria/criterion.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

constexpr double kRidge = 1e-3;  // of the features' mean variance

class Probe final : public Criterion {
 public:
  std::string name() const override { return "probe"; }
  std::string description() const override {
    return "validation accuracy of a linear classifier fitted to the features by ridge regression";
  }
  bool needs_moments() const override { return true; }
  bool needs_validation() const override { return true; }

  /// In 0..1. Without images 0; with features that are all constant, the classifier only knows how common a class is.
  double score(const StageEvidence& evidence) const override {
    require(static_cast<bool>(evidence.validation_accuracy), "[probe] expected validation images, got none");
    const Moments& moments = evidence.train;
    Scatter scatter = scatter_of(moments);
    if (moments.images <= 0 || moments.sum.size() == 0) return 0;

    const double mean_variance = scatter.features.diagonal().mean();
    scatter.features.diagonal().array() += mean_variance > 0 ? kRidge * mean_variance : 1;
    const Eigen::MatrixXd weights = scatter.features.ldlt().solve(scatter.labels);
    const Eigen::VectorXd bias = (moments.class_counts - weights.transpose() * moments.sum) / moments.images;
    return evidence.validation_accuracy(weights, bias);
  }
};

}  // namespace

std::unique_ptr<Criterion> make_probe() { return std::make_unique<Probe>(); }

}  // namespace stagewise
