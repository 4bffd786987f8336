// The search loop as a library: what it decides, what it writes down, and that stopping it anywhere changes nothing.
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <sstream>

#include "cpu/cpu_backend.h"
#include "layers/cost.h"
#include "search/run/interrupt.h"
#include "search/training/network_tensors.h"
#include "search/stagewise_search.h"
#include "tensor/atomic_file.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

namespace fs = std::filesystem;

/// A backend, sixty synthetic images and a folder of its own.
class SearchTest : public testing::Test {
 protected:
  SearchTest() : data_(open_run_data(*backend_, data_options(), Variant::standard, DType::float32)) {
    options_.start = {1, 1};
    options_.iterations = 2;
    options_.criterion = "uniform";
    options_.training.epochs = 2;
    options_.training.batch_size = 20;
    options_.training.schedule.peak = 0.05;
  }
  ~SearchTest() override { request_interrupt(false); }

  static DataOptions data_options() {
    DataOptions options;
    options.synthetic_train = 60;
    options.synthetic_test = 20;
    options.validation = 0.2;
    return options;
  }

  RunDirectory new_run(const std::string& name) const { return RunDirectory::create(folder_.path(name), "search"); }

  /// Runs to the end in one go.
  SearchState run_through(const RunDirectory& run) {
    StagewiseSearch search(*backend_, data_, options_, run, progress_);
    while (search.step()) {
    }
    return search.state();
  }

  /// Runs to the end, forgetting everything but the run's folder after every step.
  SearchState run_in_pieces(const RunDirectory& run) {
    while (true) {
      StagewiseSearch search(*backend_, data_, options_, run, progress_);
      if (!search.step()) return search.state();
    }
  }

  static std::vector<nlohmann::json> journal_of(const RunDirectory& run, const std::string& event = "") {
    std::vector<nlohmann::json> events;
    std::istringstream lines(read_file(run.journal()));
    for (std::string line; std::getline(lines, line);) {
      nlohmann::json parsed = nlohmann::json::parse(line);
      for (const char* clock : {"seconds", "utc", "images_per_second"}) parsed.erase(clock);
      if (event.empty() || parsed["event"] == event) events.push_back(std::move(parsed));
    }
    return events;
  }

  static void expect_equal_results(const RunDirectory& a, const RunDirectory& b) {
    EXPECT_EQ(read_file(a.model()), read_file(b.model()));
    EXPECT_EQ(read_file(a.architecture()), read_file(b.architecture()));
    EXPECT_EQ(journal_of(a), journal_of(b));
  }

  static std::map<std::string, std::vector<unsigned char>> tensors_of(const ResNet& network) {
    Safetensors file;
    store_network(network, "", file);
    std::map<std::string, std::vector<unsigned char>> bytes;
    for (const auto& [name, entry] : file.tensors) bytes[name] = entry.bytes;
    return bytes;
  }

  Progress progress_{/*quiet=*/true};
  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  RunData data_;
  SearchOptions options_;
  TemporaryFolder folder_;
};

TEST_F(SearchTest, GrowsEveryStageUnderTheUniformCriterionAndCountsItsModels) {
  const RunDirectory run = new_run("a");
  const SearchState state = run_through(run);
  EXPECT_EQ(Architecture::from_json(read_file(run.architecture())).depths(), (std::vector<std::int64_t>{3, 3}));
  EXPECT_EQ(state.models, 1 + 2 * options_.iterations);
  EXPECT_EQ(state.epoch, state.models * options_.training.epochs);
  EXPECT_EQ(state.images_seen, state.epoch * static_cast<std::int64_t>(data_.train.size()));
  EXPECT_NE(read_file(run.summary()).find("3,3, grown from 1,1"), std::string::npos);
}

TEST_F(SearchTest, TheJournalAloneIsEnoughToRedoEveryDecision) {
  options_.criterion = "vip";
  options_.growth.margin = -0.02;
  const RunDirectory run = new_run("a");
  run_through(run);
  const auto decisions = journal_of(run, "decision");
  ASSERT_FALSE(decisions.empty());
  for (const nlohmann::json& event : decisions) {
    std::vector<double> before, probe;
    std::vector<bool> grown;
    for (const auto& stage : event["stages"]) {
      before.push_back(stage["before"]);
      probe.push_back(stage["probe"]);
      grown.push_back(stage["grown"]);
    }
    const Architecture architecture = Architecture::of_depths(event["blocks_before"].get<std::vector<std::int64_t>>());
    const GrowthRules rules{.step = event["step"], .margin = event["margin"]};
    const auto again = decide_growth(architecture, before, probe, rules);
    for (std::size_t stage = 0; stage < again.size(); ++stage) EXPECT_EQ(again[stage].grown, grown[stage]);
    std::vector<std::int64_t> depths = architecture.depths();
    for (const std::size_t stage : growing_stages(again)) depths[stage] += rules.step;
    EXPECT_EQ(event["blocks_after"], depths);
  }
}

TEST_F(SearchTest, TheScoresOfADecisionAreThoseThatWereMeasured) {
  options_.criterion = "vip";
  const RunDirectory run = new_run("a");
  run_through(run);
  std::vector<double> last_train, last_probe;
  for (const nlohmann::json& event : journal_of(run)) {
    if (event["event"] == "score") event["scores"].get_to(event["phase"] == "probe" ? last_probe : last_train);
    if (event["event"] != "decision") continue;
    for (std::size_t stage = 0; stage < last_train.size(); ++stage) {
      EXPECT_EQ(event["stages"][stage]["before"], last_train[stage]);
      EXPECT_EQ(event["stages"][stage]["probe"], last_probe[stage]);
    }
  }
  EXPECT_EQ(last_train.size(), 2u);
  EXPECT_EQ(last_probe.size(), 2u);
}

TEST_F(SearchTest, StoppedAfterEveryStepItEndsWithTheSameBits) {
  options_.criterion = "random";
  const RunDirectory a = new_run("a"), b = new_run("b");
  run_through(a);
  run_in_pieces(b);
  expect_equal_results(a, b);
}

TEST_F(SearchTest, StoppedAfterEveryStepItEndsWithTheSameBitsFromScratchToo) {
  options_.inherit = Inherit::none;
  const RunDirectory a = new_run("a"), b = new_run("b");
  run_through(a);
  run_in_pieces(b);
  expect_equal_results(a, b);
}

TEST_F(SearchTest, OneSeedGivesTheSameBitsAndAnotherSeedOthers) {
  options_.iterations = 1;
  const RunDirectory a = new_run("a"), b = new_run("b"), c = new_run("c");
  run_through(a);
  run_through(b);
  options_.seed = options_.training.seed = 1;
  run_through(c);
  expect_equal_results(a, b);
  EXPECT_NE(read_file(a.model()), read_file(c.model()));
}

TEST_F(SearchTest, WhatIsLostByAnInterruptIsTheStepItFellInto) {
  const RunDirectory a = new_run("a"), b = new_run("b");
  run_through(a);
  // The interrupt comes while the test set is being read, in the middle of the last step.
  const auto load_test = data_.load_test;
  data_.load_test = [&] {
    request_interrupt();
    return load_test();
  };
  EXPECT_THROW(run_through(b), Interrupted);
  EXPECT_FALSE(fs::exists(b.model()));
  request_interrupt(false);
  data_.load_test = load_test;
  run_through(b);
  expect_equal_results(a, b);
  EXPECT_EQ(journal_of(b, "test set opened").size(), 1u);
}

TEST_F(SearchTest, AnInterruptLeavesTheEpochUndone) {
  const RunDirectory run = new_run("a");
  StagewiseSearch search(*backend_, data_, options_, run, progress_);
  search.step();
  request_interrupt();
  EXPECT_THROW(search.step(), Interrupted);
  EXPECT_EQ(read_checkpoint(run.checkpoint()).state.epoch, 1);
}

TEST_F(SearchTest, TheTestSetStaysShutUntilEverythingIsDecided) {
  int opened = 0;
  const auto load_test = data_.load_test;
  data_.load_test = [&] {
    ++opened;
    return load_test();
  };
  const RunDirectory run = new_run("a");
  StagewiseSearch search(*backend_, data_, options_, run, progress_);
  while (search.state().phase != Phase::searched) {
    ASSERT_TRUE(search.step());
    ASSERT_EQ(opened, 0);
  }
  while (search.step()) {
  }
  EXPECT_EQ(opened, 1);
  const auto events = journal_of(run);
  EXPECT_EQ(events[events.size() - 2]["event"], "test set opened");
}

TEST_F(SearchTest, GrowingInPlaceKeepsEveryOldTensor) {
  const RunDirectory run = new_run("a");
  StagewiseSearch search(*backend_, data_, options_, run, progress_);
  std::map<std::string, std::vector<unsigned char>> before;
  while (search.state().phase != Phase::probe) search.step();
  before = tensors_of(search.network());
  while (search.state().phase != Phase::train) search.step();
  const auto after = tensors_of(search.network());
  EXPECT_EQ(after.size(), before.size() + 2 * 10);  // two blocks of two filters and eight batch-norm vectors
  for (const auto& [name, bytes] : before) EXPECT_EQ(after.at(name), bytes) << name;
}

TEST_F(SearchTest, FromScratchNothingIsKept) {
  options_.inherit = Inherit::none;
  const RunDirectory run = new_run("a");
  StagewiseSearch search(*backend_, data_, options_, run, progress_);
  while (search.state().phase != Phase::probe) search.step();
  const auto before = tensors_of(search.network());
  while (search.state().phase != Phase::train) search.step();
  const auto after = tensors_of(search.network());
  EXPECT_NE(after.at("stem.conv.weight"), before.at("stem.conv.weight"));
  EXPECT_NE(after.at("classifier.weight"), before.at("classifier.weight"));
}

TEST_F(SearchTest, StopsAtTheBudgetAndSaysSo) {
  const Cost start = cost_of(data_.architecture(options_.start, options_.variant)).total();
  options_.growth.max_parameters = start.parameters() + 1;
  const RunDirectory run = new_run("a");
  const SearchState state = run_through(run);
  EXPECT_EQ(state.models, 2);
  EXPECT_NE(state.stop_reason.find("budget"), std::string::npos) << state.stop_reason;
  EXPECT_EQ(journal_of(run, "decision")[0]["parameters"], start.parameters());
}

TEST_F(SearchTest, StopsWhenNoScoreRoseByMoreThanTheMargin) {
  options_.growth.margin = 1.5;  // under `uniform` a score rises by exactly the step
  const SearchState state = run_through(new_run("a"));
  EXPECT_EQ(state.models, 2);
  EXPECT_NE(state.stop_reason.find("margin"), std::string::npos) << state.stop_reason;
}

TEST_F(SearchTest, WithoutIterationsItIsATraining) {
  options_.iterations = 0;
  const RunDirectory a = new_run("a"), b = new_run("b");
  EXPECT_EQ(run_through(a).models, 1);
  run_in_pieces(b);
  expect_equal_results(a, b);
  EXPECT_TRUE(journal_of(a, "score").empty());
}

TEST_F(SearchTest, TrainingLowersTheLossAndADivergingOneIsAnError) {
  ResNet network(*backend_, data_.architecture({1}, Variant::standard), 1);
  Sgd optimiser;
  TrainingOptions options{.epochs = 6, .batch_size = 20, .schedule = {.peak = 0.05}};
  const double first = train_epoch(network, optimiser, data_.images, data_.train, options, 0).loss;
  double last = 0.0;
  for (std::int64_t epoch = 1; epoch < options.epochs; ++epoch) {
    last = train_epoch(network, optimiser, data_.images, data_.train, options, epoch).loss;
  }
  EXPECT_LT(last, first - 0.1);
  options.schedule = {.kind = ScheduleKind::constant, .peak = 1e30};
  EXPECT_THROW(train_epoch(network, optimiser, data_.images, data_.train, options, 0), Error);
}

TEST_F(SearchTest, EvaluationCountsEveryImageOnceWhateverTheBatches) {
  const ResNet network(*backend_, data_.architecture({1}, Variant::standard), 1);
  const std::vector<std::int32_t> all = all_indices(data_.images.count());
  const PassResult whole = evaluate(network, data_.images, all);
  PassResult parts;
  for (const std::int32_t index : all) {
    const PassResult one = evaluate(network, data_.images, std::span(&index, 1));
    parts.images += one.images;
    parts.right += one.right;
    parts.loss += one.loss / static_cast<double>(all.size());
  }
  EXPECT_EQ(whole.images, 60);
  EXPECT_EQ(parts.images, whole.images);
  EXPECT_EQ(parts.right, whole.right);
  EXPECT_NEAR(parts.loss, whole.loss, 1e-5);
}

}  // namespace
}  // namespace stagewise
