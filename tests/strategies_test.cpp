// What each strategy decides, and that its journal says all that it took.
#include <algorithm>
#include <set>

#include "layers/cost.h"
#include "search/decision.h"
#include "search/growth.h"
#include "search/work.h"
#include "tests/search_runs.h"

namespace stagewise {
namespace {

class Strategies : public SearchRuns {};

TEST_F(Strategies, TheJournalAloneIsEnoughToRedoEveryDecision) {
  for (const char* criterion : {"ablation", "vip"}) {
    SearchOptions options = options_of("stagewise");
    options.criterion = criterion;
    const RunDirectory run = new_run(criterion);
    run_through(run, options);
    const auto decisions = journal_of(run, "decision");
    ASSERT_EQ(decisions.size(), 1u);
    for (const nlohmann::json& event : decisions) {
      std::vector<StageScore> scores;
      std::vector<std::int64_t> fresh;
      for (const auto& stage : event["stages"]) {
        scores.push_back({stage["score"], stage["lower"], stage["upper"]});
        fresh.push_back(stage["new"]);
      }
      EXPECT_EQ(fresh, (std::vector<std::int64_t>{1, 2}));
      const auto again =
          decide(scores, fresh, std::vector<bool>(scores.size(), true), event["margin"], event["long_enough"]);
      std::vector<std::int64_t> depths = options.start;
      for (std::size_t stage = 0; stage < again.size(); ++stage) {
        EXPECT_EQ(event["stages"][stage]["stays"], again[stage].stays);
        EXPECT_EQ(event["stages"][stage]["reason"], again[stage].reason);
        depths[stage] += again[stage].stays ? fresh[stage] : 0;
      }
      EXPECT_EQ(event["blocks_after"], depths);
      EXPECT_EQ(blocks_of(run), depths);
    }
  }
}

TEST_F(Strategies, EvolutionTakesOneStepAtATimeWithinTheLimits) {
  SearchOptions options = options_of("evolution");
  options.models = 8;
  const auto cost = [&](const std::vector<std::int64_t>& depths) {
    return cost_of(data_.architecture(depths, options.variant)).total();
  };
  options.limits.max_macs = cost({1, 2}).macs;
  const RunDirectory run = new_run("a");
  run_through(run, options);
  const auto individuals = journal_of(run, "individual");
  ASSERT_EQ(individuals.size(), 8u);
  std::set<std::vector<std::int64_t>> seen;
  for (const auto& event : individuals) {
    seen.insert(event["blocks"].get<std::vector<std::int64_t>>());
    EXPECT_LE(cost(event["blocks"]).macs, options.limits.max_macs) << event["blocks"];
  }
  EXPECT_GT(seen.size(), 1u);
  options.limits.max_macs = cost({1, 1}).macs - 1;
  EXPECT_TRUE(contains(message_of([&] { run_through(new_run("b"), options); }), "--max-macs"));
}

class PaperStrategy : public SearchRuns {
 protected:
  PaperStrategy() {
    options_.strategy = "paper";
    options_.criterion = "uniform";
    options_.iterations = 2;
    options_.training.epochs = 10;
  }
};

TEST_F(PaperStrategy, GrowsEveryStageUnderTheUniformCriterionAndCountsItsModels) {
  const RunDirectory run = new_run("a");
  const SearchState state = run_through(run);
  EXPECT_EQ(blocks_of(run).size(), 2u);
  EXPECT_EQ(state.models, 1 + 2 * options_.iterations);
  const auto decisions = journal_of(run, "decision");
  ASSERT_EQ(decisions.size(), 2u);
  EXPECT_EQ(decisions[0]["blocks_after"], (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(decisions[1]["blocks_after"], (std::vector<std::int64_t>{3, 3}));
  EXPECT_EQ(state.stop_reason, "all 2 iterations are done");
}

TEST_F(PaperStrategy, TheJournalAloneIsEnoughToRedoEveryDecision) {
  options_.criterion = "vip";
  options_.margin = -0.02;
  const RunDirectory run = new_run("a");
  run_through(run);
  const auto decisions = journal_of(run, "decision");
  ASSERT_FALSE(decisions.empty());
  for (const nlohmann::json& event : decisions) {
    std::vector<double> before, deeper;
    std::vector<bool> grown;
    for (const auto& stage : event["stages"]) {
      before.push_back(stage["before"]);
      deeper.push_back(stage["deeper"]);
      grown.push_back(stage["grown"]);
    }
    const Architecture architecture = Architecture::of_depths(event["blocks_before"].get<std::vector<std::int64_t>>());
    const GrowthRules rules{.step = event["step"], .margin = event["margin"]};
    const auto again = decide_growth(architecture, before, deeper, rules);
    for (std::size_t stage = 0; stage < again.size(); ++stage) EXPECT_EQ(again[stage].grown, grown[stage]);
    std::vector<std::int64_t> depths = architecture.depths();
    for (const std::size_t stage : growing_stages(again)) depths[stage] += rules.step;
    EXPECT_EQ(event["blocks_after"], depths);
  }
}

TEST_F(PaperStrategy, TheScoresOfADecisionAreThoseThatWereMeasured) {
  options_.criterion = "vip";
  options_.iterations = 1;
  const RunDirectory run = new_run("a");
  run_through(run);
  std::vector<std::vector<double>> measured;
  int decisions = 0;
  for (const nlohmann::json& event : journal_of(run)) {
    if (event["event"] == "score") measured.push_back(event["scores"]);
    if (event["event"] != "decision") continue;
    ++decisions;
    ASSERT_GE(measured.size(), 2u);
    for (std::size_t stage = 0; stage < 2; ++stage) {
      EXPECT_EQ(event["stages"][stage]["before"], measured[measured.size() - 2][stage]);
      EXPECT_EQ(event["stages"][stage]["deeper"], measured.back()[stage]);
    }
  }
  EXPECT_EQ(decisions, 1);
}

TEST_F(PaperStrategy, EveryNetworkIsFromScratchWithAWholeSchedule) {
  const RunDirectory run = new_run("a");
  SearchRun search(*backend_, data_, options_, run, progress_);
  std::map<std::string, std::vector<unsigned char>> before;
  for (std::int64_t models = 1; search.step();) {
    const SearchState& state = search.state();
    if (state.models == models || state.phase != Phase::train) {
      before = tensors_of(search.network());
      continue;
    }
    models = state.models;
    EXPECT_EQ(state.schedule.begin, state.work);
    // Five networks share the work: of what is left each gets its part, out of which it is judged.
    const std::int64_t left = search.total_work() - state.work;
    const std::int64_t judging = evaluation_work(search.network().architecture(), std::ssize(data_.validation));
    EXPECT_EQ(state.schedule.end - state.schedule.begin, left / (6 - models) - judging);
    EXPECT_EQ(state.stretch_end, state.schedule.end);
    EXPECT_EQ(state.position.images, 0) << "its epoch's loss is its own";
    const auto after = tensors_of(search.network());
    EXPECT_NE(after.at("stem.conv.weight"), before.at("stem.conv.weight"));
    EXPECT_NE(after.at("classifier.weight"), before.at("classifier.weight"));
  }
}

TEST_F(PaperStrategy, StopsAtTheLimitsAndSaysSo) {
  const Cost start = cost_of(data_.architecture(options_.start, options_.variant)).total();
  options_.limits.max_parameters = start.parameters() + 1;
  const RunDirectory run = new_run("a");
  const SearchState state = run_through(run);
  EXPECT_EQ(state.models, 2);
  EXPECT_NE(state.stop_reason.find("limits"), std::string::npos) << state.stop_reason;
  EXPECT_EQ(journal_of(run, "decision")[0]["parameters"], start.parameters());
}

TEST_F(PaperStrategy, StopsWhenNoScoreRoseByMoreThanTheMargin) {
  options_.margin = 1.5;  // under `uniform` a score rises by exactly the step
  const SearchState state = run_through(new_run("a"));
  EXPECT_EQ(state.models, 2);
  EXPECT_NE(state.stop_reason.find("margin"), std::string::npos) << state.stop_reason;
}

TEST_F(PaperStrategy, KeepsTheBestNetworkByItsValidation) {
  data_ = coloured_data(*backend_, 200, 0.3);
  options_.margin = -1.0;
  bool kept_an_earlier_one = false;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    options_.seed = options_.training.seed = seed;
    const RunDirectory run = new_run(std::to_string(seed));
    SearchRun search(*backend_, data_, options_, run, progress_);
    while (search.step()) {
    }
    std::vector<nlohmann::json> networks = journal_of(run, "score");
    ASSERT_EQ(networks.size(), 5u);
    const auto best = std::max_element(networks.begin(), networks.end(), [](const auto& a, const auto& b) {
      return a["validation_accuracy"] < b["validation_accuracy"];
    });
    EXPECT_EQ(journal_of(run, "finished")[0]["validation_accuracy"], (*best)["validation_accuracy"]);
    EXPECT_EQ(evaluate(search.network(), data_.images, data_.validation).accuracy(), (*best)["validation_accuracy"]);
    if (best->at("validation_accuracy") > networks.back()["validation_accuracy"]) {
      kept_an_earlier_one = true;
      EXPECT_EQ(blocks_of(run), (*best)["blocks"]);
    }
  }
  EXPECT_TRUE(kept_an_earlier_one) << "else this tests nothing";
}

}  // namespace
}  // namespace stagewise
