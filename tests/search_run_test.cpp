// A run, whatever its strategy: that stopping it anywhere changes nothing, what it counts, what it writes and when.
#include <cmath>
#include <filesystem>

#include "layers/cost.h"
#include "search/run/text.h"
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
  std::vector<std::pair<std::string, OptimiserKind>> kinds = {{"stagewise", OptimiserKind::adamw}};
  for (const std::string& strategy : strategies()) kinds.emplace_back(strategy, OptimiserKind::sgd);
  for (const auto& [strategy, optimiser] : kinds) {
    SCOPED_TRACE(strategy + " by " + name_of(optimiser));
    SearchOptions options = options_of(strategy);
    options.average_decay = strategy == "stagewise" ? 0.0 : 0.9;  // whose blocks on trial have averages anyway
    options.training.optimiser.kind = optimiser;
    const std::string name = strategy + " by " + name_of(optimiser);
    const RunDirectory whole = new_run(name), pieces = new_run(name + " in pieces");
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

TEST_F(SearchRuns, TheModelIsWrittenBeforeTheTestSetIsRead) {
  const RunDirectory a = new_run("a"), b = new_run("b");
  run_through(a, options_of("train"));
  const auto load_test = data_.load_test;
  data_.load_test = []() -> Images { fail("the folder `test` is gone"); };
  EXPECT_TRUE(contains(message_of([&] { run_through(b, options_of("train")); }), "is gone"));
  EXPECT_EQ(read_file(a.model()), read_file(b.model()));
  EXPECT_TRUE(contains(message_of([&] { run_through(b, options_of("train")); }), "is gone")) << "and again";
  data_.load_test = load_test;
  run_through(b, options_of("train"));
  expect_equal_results(a, b);
}

TEST_F(SearchRuns, SpendTheirWorkToWithinABatch) {
  for (const std::string& strategy : strategies()) {
    for (const std::int64_t work : {0, 200'000'000}) {
      SearchOptions options = options_of(strategy);
      options.work = work;
      const RunDirectory run = new_run(concat(strategy, work));
      SearchRun search(*backend_, data_, options, run, progress_);
      while (search.step()) {
      }
      if (work > 0) {
        EXPECT_EQ(search.total_work(), work);
      }
      const SearchState& state = search.state();
      std::vector<std::int64_t> deepest = {3, 3};
      const std::int64_t batch = training_work(data_.architecture(deepest, Variant::standard), 12);
      EXPECT_GE(state.work, search.total_work()) << strategy;
      EXPECT_LT(state.work, search.total_work() + batch) << strategy;
    }
  }
}

TEST_F(SearchRuns, EpochsAreCountedInWorkAndAnEvaluationAtAThird) {
  const std::int64_t macs = training_work(data_.architecture({1, 1}, Variant::standard), 1);
  const SearchState state = run_through(new_run("a"), options_of("train"));  // 6 epochs of 48 images, 12 held out
  EXPECT_EQ(state.work, 6 * (48 * macs + 12 * macs / 3));
  EXPECT_EQ(state.looking, 6 * 12 * macs / 3);
  EXPECT_EQ(state.images_seen, 6 * 48);
  EXPECT_EQ(state.passes, 6);
  // One image more than whole batches hold is left out: batch norm can't use it.
  SearchOptions odd = options_of("train");
  odd.training.batch_size = 47;
  EXPECT_EQ(work_of(odd, data_), 6 * (47 * macs + 4 * macs));
  // Growing, the same number of passes over the images costs more.
  SearchOptions options = options_of("stagewise");
  options.margin = -1e9;  // all blocks stay, as the plan has it
  const SearchState grown = run_through(new_run("b"), options);
  EXPECT_GT(grown.work, state.work);
  EXPECT_NEAR(static_cast<double>(grown.images_seen), 6 * 48, 0.2 * 6 * 48);
}

TEST_F(SearchRuns, WhereThePlanSaysNoneASearchIsThePlainTraining) {
  data_.validation.clear();
  const RunDirectory train = new_run("train"), search = new_run("search"), jump = new_run("jump");
  run_through(train, options_of("train"));
  run_through(search);  // the table holds less than a block best for so little work
  SearchOptions options = options_;
  options.strategy = "jump";
  run_through(jump, options);
  EXPECT_TRUE(journal_of(search, "insertion").empty());
  EXPECT_EQ(read_file(train.model()), read_file(search.model()));
  EXPECT_EQ(read_file(train.model()), read_file(jump.model()));
}

TEST_F(SearchRuns, GrowingKeepsOfEveryOldTensorTheShareThatIsAskedFor) {
  for (const char* strategy : {"stagewise", "jump"}) {
    for (const double shrink : {1.0, 0.25}) {
      SearchOptions options = options_of(strategy);
      options.shrink = shrink;
      const RunDirectory run = new_run(concat(strategy, shrink));
      SearchRun search(*backend_, data_, options, run, progress_);
      while (search.network().architecture().depths() == options_.start) {
        const std::unique_ptr<Network> network = search.network().clone();
        const auto before = network->tensors();
        ASSERT_TRUE(search.step());
        if (search.network().architecture().depths() == options_.start) continue;
        const auto after = search.network().tensors();
        EXPECT_EQ(after.size(), before.size() + 3 * 10);  // three blocks of two filters and eight batch-norm vectors
        const bool all = shrink == 1.0;
        for (const auto& [name, tensor] : before) {
          const bool learns = name.find("running") == std::string::npos;
          EXPECT_EQ(after.at(name).to_doubles() == tensor.to_doubles(), all || !learns) << name;
        }
        EXPECT_EQ(search.learner().optimiser->state().empty(), !all) << "a velocity belongs to the weights it moved";
        const double gamma = after.at("stages.0.blocks.0.batch_norm2.weight").to_doubles().front();
        const double old = before.at("stages.0.blocks.0.batch_norm2.weight").to_doubles().front();
        EXPECT_NEAR(gamma, shrink * old + (1.0 - shrink), 1e-6) << "a new network's is 1";
      }
    }
  }
}

TEST_F(SearchRuns, GrowingDrawsTheWeightsAnewUnlessTheyCameFromElsewhere) {
  SearchOptions options = options_of("stagewise");
  EXPECT_EQ(settled(options, data_).shrink, 0.0);
  options.shrink = 0.75;
  EXPECT_EQ(settled(options, data_).shrink, 0.75);
  options.shrink = -1.0;
  options.from = "a model";
  EXPECT_EQ(settled(options, data_).shrink, 1.0);
}

TEST_F(SearchRuns, ThePlanSaysWhatBecomesOfTheWeights) {
  SearchOptions options = options_of("jump");
  const auto plan = [&](double shrink, BlockInitialiser initialiser) {
    options.shrink = shrink, options.initialiser = initialiser;
    return make_strategy(options, data_, work_of(options, data_))->plan();
  };
  const std::string all_kept = plan(1.0, BlockInitialiser::he);
  EXPECT_EQ(all_kept, "one jump to 3,2 at 2.00% of the work");
  EXPECT_EQ(plan(0.25, BlockInitialiser::he),
            all_kept + "; when blocks come, 25.00% of every weight is kept, the rest is drawn anew");
  EXPECT_EQ(plan(0.0, BlockInitialiser::zero_gamma), all_kept + "; when blocks come, all weights are drawn anew");
  EXPECT_NE(plan(0.0, BlockInitialiser::he).find("--initialiser he has no effect"), std::string::npos);
}

TEST_F(SearchRuns, GoOnOnlyWithWhatTheyBeganWith) {
  const RunDirectory run = new_run("a");
  {
    SearchRun search(*backend_, data_, options_of("train"), run, progress_);
    search.step();
    search.step();
  }
  const auto problem = [&](const RunData& data) {
    return message_of([&] { SearchRun(*backend_, data, options_of("train"), run, progress_); });
  };
  const RunData more = small_data(*backend_, 61, 20);
  EXPECT_TRUE(contains(problem(more), "had 6 images, now 7"));
  RunData renamed = small_data(*backend_, 60, 20);
  renamed.fingerprint.classes[3] = "another";
  EXPECT_TRUE(contains(problem(renamed), "class `another` is new"));
  EXPECT_EQ(problem(small_data(*backend_, 60, 20)), "no error");
}

TEST_F(SearchRuns, GoOnByTheSameArithmeticUnlessAllowedOtherwise) {
  const std::vector<std::string> sets = cpu_instruction_sets();
  if (sets.size() < 2) GTEST_SKIP() << "one instruction set only";
  const RunDirectory run = new_run("a");
  SearchOptions options = options_of("train");
  {
    const auto first = make_cpu_backend({.instruction_set = sets.front()});
    const RunData data = small_data(*first, 60, 20);
    SearchRun search(*first, data, options, run, progress_);
    search.step();
    search.step();
  }
  const auto other = make_cpu_backend({.instruction_set = sets.back()});
  const RunData data = small_data(*other, 60, 20);
  const std::string refused = message_of([&] { SearchRun(*other, data, options, run, progress_); });
  EXPECT_TRUE(contains(refused, "--any-device"));
  EXPECT_TRUE(contains(refused, sets.front()));
  EXPECT_TRUE(contains(refused, sets.back()));
  options.any_device = true;
  SearchRun search(*other, data, options, run, progress_);
  while (search.step()) {
  }
  EXPECT_EQ(search.state().phase, Phase::finished);
}

TEST_F(SearchRuns, AnotherRateOnTheWayIsInTheJournal) {
  const RunDirectory a = new_run("a"), b = new_run("b");
  SearchOptions options = options_of("train");
  for (const RunDirectory& run : {a, b}) {
    SearchRun search(*backend_, data_, options, run, progress_);
    search.step();
    search.step();
  }
  run_through(a, options);
  options.rate_factor = 0.25;
  run_through(b, options);
  EXPECT_TRUE(journal_of(a, "learning rate changed").empty());
  const auto changes = journal_of(b, "learning rate changed");
  ASSERT_EQ(changes.size(), 1u) << "said once, though the run went on in several steps";
  EXPECT_EQ(changes[0]["factor"], 0.25);
  EXPECT_EQ(changes[0]["before"], 1.0);
  const auto before = journal_of(a, "epoch"), after = journal_of(b, "epoch");
  EXPECT_EQ(before[0]["rate"], after[0]["rate"]);
  for (std::size_t i = 1; i < after.size(); ++i) {
    EXPECT_EQ(after[i]["rate"].get<double>(), 0.25 * before[i]["rate"].get<double>());
  }
}

TEST_F(SearchRuns, ADivergenceInTheLastStepIsAnErrorAndALowerRateAWayOn) {
  SearchOptions options = options_of("train");
  options.training.epochs = 2;
  options.training.batch_size = 48;  // an epoch is a step
  options.training.schedule = {.kind = ScheduleKind::step, .peak = 0.05};
  const RunDirectory run = new_run("a");
  {
    SearchRun search(*backend_, data_, options, run, progress_);
    search.step();
    search.step();
    EXPECT_EQ(search.state().passes, 1);
  }
  options.rate_factor = 1e30;
  EXPECT_TRUE(contains(message_of([&] { run_through(run, options); }), "the training diverged"));
  EXPECT_FALSE(fs::exists(run.model()));
  EXPECT_EQ(read_checkpoint(run.checkpoint()).state.passes, 1) << "the last sound one";
  options.rate_factor = 0.5;
  run_through(run, options);
  EXPECT_TRUE(fs::exists(run.model()));
}

TEST_F(SearchRuns, SmallDataGetsSmallBatchesUnlessToldOtherwise) {
  SearchOptions options = options_of("train");
  options.training.batch_size = 0;
  options.training.schedule.peak = 0.0;
  options.training.optimiser.weight_decay = -1.0;
  const auto settled_for = [&](std::size_t images) {
    RunData data = small_data(*backend_, 60, 20);
    data.train.resize(images);
    return settled(options, data).training;
  };
  for (const auto& [images, batch] :
       std::map<std::size_t, std::int64_t>{{48, 8}, {640, 16}, {1300, 32}, {50'000, 128}}) {
    EXPECT_EQ(settled_for(images).batch_size, batch) << images;
    EXPECT_DOUBLE_EQ(settled_for(images).schedule.peak, 0.4 * static_cast<double>(batch) / 128);
  }
  EXPECT_DOUBLE_EQ(settled_for(48).optimiser.weight_decay, 5e-4);
  options.training.epochs = 33;  // and the evaluations' work
  data_.validation.clear();
  EXPECT_NEAR(settled(options, data_).training.optimiser.weight_decay, 5e-4 * std::sqrt(8.0 / 33.0), 1e-6);
  options.training.batch_size = 100;
  options.training.optimiser.weight_decay = 0.01;
  EXPECT_EQ(settled_for(48).batch_size, 100);
  EXPECT_EQ(settled_for(48).optimiser.weight_decay, 0.01);
}

TEST_F(SearchRuns, WhatCannotBeDoneIsRefusedBeforeAnythingIsTrained) {
  const auto problem = [&](const SearchOptions& options, bool held_out = true) {
    RunData data = small_data(*backend_, 60, 20);
    if (!held_out) data.validation.clear();
    const RunDirectory run = new_run("x");
    const std::string message = message_of([&] { SearchRun(*backend_, data, options, run, progress_); });
    fs::remove_all(run.path());
    return message;
  };
  for (const char* strategy : {"stagewise", "paper"}) {
    SearchOptions options = options_of(strategy);
    options.criterion = "probe";
    EXPECT_TRUE(contains(problem(options, false), "--validation")) << strategy;
    options = options_of(strategy);
    options.criterion = "nonsense";
    EXPECT_TRUE(contains(problem(options), "nonsense")) << strategy;
    options = options_of(strategy);
    options.limits.max_parameters = 10;
    EXPECT_TRUE(contains(problem(options), "--max-params 10")) << strategy;
  }
  EXPECT_TRUE(contains(problem(options_of("evolution"), false), "--validation"));
  SearchOptions options = options_of("paper");
  options.step = 1000;
  EXPECT_TRUE(contains(problem(options), "at most 1000 blocks"));
  options = options_of("stagewise");
  options.work = 1000;
  EXPECT_TRUE(contains(problem(options), "--work"));
  options = options_of("stagewise");
  options.twin = 1'000'000;
  EXPECT_TRUE(contains(problem(options), "--twin"));
}

/// docs/search.md's table: the members of each event.
std::map<std::string, std::set<std::string>> documented_events() {
  std::map<std::string, std::set<std::string>> events;
  std::istringstream lines(read_file(std::string(STAGEWISE_SOURCE_DIR) + "/docs/search.md"));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| `")) continue;
    std::vector<std::string> words;
    for (std::size_t from = line.find('`'); from != std::string::npos; from = line.find('`', from + 1)) {
      const std::size_t to = line.find('`', from + 1);
      words.push_back(line.substr(from + 1, to - from - 1));
      from = to;
    }
    events[words.front()].insert(words.begin() + 1, words.end());
  }
  return events;
}

TEST_F(SearchRuns, EveryEventOfTheJournalIsAsTheGuideSays) {
  const auto documented = documented_events();
  std::map<std::string, std::set<std::string>> seen;
  for (const std::string& strategy : strategies()) {
    const RunDirectory run = new_run(strategy);
    run_through(run, options_of(strategy));
    for (const nlohmann::json& event : journal_of(run)) {
      for (const auto& [member, value] : event.items()) seen[event["event"]].insert(member);
    }
  }
  for (auto& [event, members] : seen) {
    ASSERT_TRUE(documented.contains(event)) << "docs/search.md lacks the event `" << event << "`";
    members.erase("event");
    for (const std::string& member : members) {
      EXPECT_TRUE(documented.at(event).contains(member)) << "docs/search.md lacks `" << member << "` of " << event;
    }
    for (const std::string& member : documented.at(event)) {
      EXPECT_TRUE(members.contains(member) || member == "utc" || member == "images_per_second" ||
                  member == "--rate-factor" || member.starts_with("joules"))
          << event << " has no `" << member << "`";
    }
  }
}

}  // namespace
}  // namespace stagewise
