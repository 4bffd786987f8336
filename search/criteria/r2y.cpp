#include "search/criteria/pls.h"

namespace stagewise {

namespace {

class R2y final : public Criterion {
 public:
  std::string name() const override { return "r2y"; }
  std::string description() const override {
    return "share of the labels' variance that a two-component PLS regression on the features explains";
  }
  bool needs_moments() const override { return true; }
  /// In 0..1; 0 where nothing can be fitted.
  double score(const StageEvidence& evidence) const override { return explained_variance(fit_pls(evidence.train)); }
};

}  // namespace

std::unique_ptr<Criterion> make_r2y() { return std::make_unique<R2y>(); }

}  // namespace stagewise
