// A run, whatever its strategy: that stopping it anywhere changes nothing, what it counts, what it writes and when.
#include <filesystem>
#include <set>

#include "layers/cost.h"
#include "search/work.h"
#include "tests/search_runs.h"

namespace stagewise {
namespace {

namespace fs = std::filesystem;

TEST_F(SearchRuns, StoppedAfterEveryStepTheyEndWithTheSameBits) {
  for (const std::string& strategy : strategies()) {
    SCOPED_TRACE(strategy);
    const RunDirectory whole = new_run(strategy), pieces = new_run(strategy + " in pieces");
    run_through(whole, options_of(strategy));
    run_in_pieces(pieces, options_of(strategy));
    expect_equal_results(whole, pieces);
  }
}

TEST_F(SearchRuns, StoppedBetweenAnyTwoBatchesTheyEndWithTheSameBitsWhateverTheThreads) {
  int threads = 0;
  for (const std::string& strategy : strategies()) {
    SCOPED_TRACE(strategy);
    SearchOptions options = options_of(strategy);
    options.average_decay = strategy == "stagewise" ? 0.0 : 0.9;  // whose blocks on trial have averages anyway
    const RunDirectory whole = new_run(strategy), pieces = new_run(strategy + " in pieces");
    const SearchState state = run_through(whole, options);
    options.save_minutes = 0.0;  // a step is a batch
    int steps = 0;
    for (;; ++steps) {
      threads = threads % 3 + 1;
      const auto backend = make_cpu_backend({.threads = threads});
      RunData data = small_data(*backend, 60, 20);
      SearchRun search(*backend, data, options, pieces, progress_);
      if (!search.step()) break;
    }
    EXPECT_GT(steps, state.steps);
    EXPECT_EQ(read_file(whole.model()), read_file(pieces.model()));
    EXPECT_EQ(read_file(whole.architecture()), read_file(pieces.architecture()));
  }
}

TEST_F(SearchRuns, OneSeedGivesTheSameBitsAndAnotherSeedOthers) {
  const RunDirectory a = new_run("a"), b = new_run("b"), c = new_run("c");
  SearchOptions options = options_of("stagewise");
  run_through(a, options);
  run_through(b, options);
  options.seed = options.training.seed = 1;
  run_through(c, options);
  expect_equal_results(a, b);
  EXPECT_NE(read_file(a.model()), read_file(c.model()));
}

TEST_F(SearchRuns, AnInterruptInTheMiddleOfAPassSavesAndLosesNothing) {
  for (const std::string& strategy : strategies()) {
    SCOPED_TRACE(strategy);
    SearchOptions options = options_of(strategy);
    const RunDirectory whole = new_run(strategy), stopped = new_run(strategy + " stopped");
    run_through(whole, options);
    // Asked to stop again and again, each time after one more batch.
    options.save_minutes = 0.0;
    std::int64_t interrupts = 0;
    for (bool going = true; going;) {
      SearchRun search(*backend_, data_, options, stopped, progress_);
      going = search.step();
      if (!going || search.state().position.batch == 0) continue;
      const std::int64_t steps = search.state().steps;
      request_interrupt();
      if (search.state().work < search.state().stretch_end) {
        EXPECT_THROW(search.step(), Interrupted);
        ++interrupts;
      }
      request_interrupt(false);
      EXPECT_EQ(read_checkpoint(stopped.checkpoint()).state.steps, steps);
    }
    EXPECT_GT(interrupts, 10);
    EXPECT_EQ(read_file(whole.model()), read_file(stopped.model()));
  }
}

TEST_F(SearchRuns, WhatAnInterruptDuringTheTestLosesIsTheTest) {
  const RunDirectory a = new_run("a"), b = new_run("b");
  const SearchOptions options = options_of("train");
  run_through(a, options);
  // The interrupt comes while the test set is being read, in the middle of the last step.
  const auto load_test = data_.load_test;
  data_.load_test = [&] {
    request_interrupt();
    return load_test();
  };
  EXPECT_THROW(run_through(b, options), Interrupted);
  request_interrupt(false);
  EXPECT_EQ(read_file(a.model()), read_file(b.model())) << "the model was written before";
  EXPECT_NE(read_file(b.summary()).find("not measured yet"), std::string::npos);
  data_.load_test = load_test;
  run_through(b, options);
  expect_equal_results(a, b);
  EXPECT_EQ(journal_of(b, "test set opened").size(), 1u);
}

TEST_F(SearchRuns, TheTestSetStaysShutUntilEverythingIsDecided) {
  for (const std::string& strategy : strategies()) {
    SCOPED_TRACE(strategy);
    int opened = 0;
    RunData data = small_data(*backend_, 60, 20);
    const auto load_test = data.load_test;
    data.load_test = [&] {
      ++opened;
      return load_test();
    };
    const RunDirectory run = new_run(strategy);
    SearchRun search(*backend_, data, options_of(strategy), run, progress_);
    while (search.state().phase != Phase::searched) {
      ASSERT_TRUE(search.step());
      ASSERT_EQ(opened, 0);
    }
    EXPECT_TRUE(search.step());
    EXPECT_EQ(opened, 1);
    const auto events = journal_of(run);
    EXPECT_EQ(events[events.size() - 2]["event"], "test set opened");
    EXPECT_EQ(events.back()["event"], "finished");
  }
}

}  // namespace
}  // namespace stagewise
