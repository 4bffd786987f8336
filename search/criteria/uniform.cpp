#include "search/criteria/criterion.h"

namespace stagewise {

namespace {

class Uniform final : public Criterion {
 public:
  std::string name() const override { return "uniform"; }
  std::string description() const override { return "control: every stage grows, every time"; }
  bool needs_moments() const override { return false; }
  double score(const StageEvidence& evidence) const override { return static_cast<double>(evidence.depth); }
};

}  // namespace

std::unique_ptr<Criterion> make_uniform() { return std::make_unique<Uniform>(); }

}  // namespace stagewise
