// The paper's criterion: the mean variable importance in projection of a stage's features.
//
// Weights of unit length make the mean of VIP^2 exactly 1, so the mean of VIP is sqrt(1 - variance of VIP): at most 1,
// and the closer to 1 the more *evenly* the features share the work. It does not say how much work they do: features of
// pure noise score higher than a few good ones among idle ones. `r2y` and `probe` measure the work.
#include "search/criteria/pls.h"

namespace stagewise {

namespace {

class Vip final : public Criterion {
 public:
  std::string name() const override { return "vip"; }
  std::string description() const override {
    return "mean VIP of a two-component PLS regression of the labels on the features (the paper's)";
  }
  bool needs_moments() const override { return true; }
  /// In 0..1; 0 where nothing can be fitted.
  double score(const StageEvidence& evidence) const override {
    const Eigen::VectorXd importance = variable_importance(fit_pls(evidence.train));
    return importance.size() > 0 ? importance.mean() : 0;
  }
};

}  // namespace

std::unique_ptr<Criterion> make_vip() { return std::make_unique<Vip>(); }

}  // namespace stagewise
