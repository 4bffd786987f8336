#include "tensor/random.h"

#include "search/criteria/criterion.h"

namespace stagewise {

namespace {

class RandomChoice final : public Criterion {
 public:
  std::string name() const override { return "random"; }
  std::string description() const override { return "control: stages grow by the toss of a coin"; }
  bool needs_moments() const override { return false; }

  /// The depth times a slope in -1..1, drawn once for each stage and round. A deeper network's score thus rises or
  /// falls with even chances in every round, whatever happened before. Scores drawn one by one would not do: a stage that just
  /// grew on a high draw would have a hard time beating it.
  double score(const StageEvidence& evidence) const override {
    const auto stream = stream_of("random criterion", static_cast<std::uint64_t>(evidence.stage),
                                  static_cast<std::uint64_t>(evidence.round));
    const double slope = 2 * Random(evidence.seed, stream).uniform(0) - 1;
    return slope * static_cast<double>(evidence.depth);
  }
};

}  // namespace

std::unique_ptr<Criterion> make_random() { return std::make_unique<RandomChoice>(); }

}  // namespace stagewise
