// What is made of finished runs: kept predictions, records, tables, and arms beside each other.
#include <gtest/gtest.h>

#include <cmath>

#include "cpu/cpu_backend.h"
#include "layers/cost.h"
#include "search/report/compare.h"
#include "search/report/finished_run.h"
#include "search/report/sweep_table.h"
#include "search/report/table.h"
#include "search/training/predictions.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

const Predictions kThree{.labels = {3, 0, 9},
                         .predicted = {3, 1, 9},
                         .label_probability = {0.1F, 1e-30F, 1.0F},
                         .loss = {2.3025851F, 69.0F, 0.0F},
                         .confidence = {0.1F, 0.7F, 1.0F}};

TEST(Predictions, ComeBackBitForBit) {
  const TemporaryFolder folder;
  write_predictions(folder.path("p.csv"), kThree);
  const Predictions back = read_predictions(folder.path("p.csv"));
  EXPECT_EQ(back.labels, kThree.labels);
  EXPECT_EQ(back.predicted, kThree.predicted);
  EXPECT_EQ(back.label_probability, kThree.label_probability);
  EXPECT_EQ(back.loss, kThree.loss);
  EXPECT_EQ(back.confidence, kThree.confidence);
  EXPECT_EQ(back.result().right, 2);
  EXPECT_TRUE(folder.read("p.csv").starts_with("image,label,predicted,probability,loss,confidence\n0,3,3,0.1,2.302"));
  EXPECT_EQ(folder.entries(), 1);
}

TEST(Predictions, OfAnEarlierVersionLackTheConfidenceAlone) {
  const TemporaryFolder folder;
  folder.write("p.csv", "image,label,predicted,probability,loss\n0,3,3,0.5,0.7\n1,0,1,0.25,1.4\n");
  const Predictions back = read_predictions(folder.path("p.csv"));
  EXPECT_EQ(back.images(), 2);
  EXPECT_EQ(back.loss[1], 1.4F);
  EXPECT_TRUE(back.confidence.empty());
}

TEST(Predictions, AFileThatIsNotWholeIsRefusedByLine) {
  const TemporaryFolder folder;
  const std::string head = "image,label,predicted,probability,loss\n";
  const auto problem = [&](const std::string& text) {
    const std::string path = folder.write("p.csv", text);
    return message_of([&] { read_predictions(path); });
  };
  EXPECT_TRUE(contains(problem("image,label\n0,1\n"), "line 1: expected `image,label,predicted"));
  EXPECT_TRUE(contains(problem(head + "0,1,1,0.5,0.7\n1,1,1,0.5,0.7"), "line 3: it is cut off"));
  EXPECT_TRUE(contains(problem(head + "0,1,1,0.5,0.7\n2,1,1,0.5,0.7\n"), "line 3: expected `1,LABEL"));
  for (const char* line : {"0,1,1,0.5", "0,1,1,0.5,0.7,", "0,1,1,0.5,0.7,1", "0,x,1,0.5,0.7", "0,1,-1,0.5,0.7",
                           "0,1,1,0.5,0.7 ", "0,1.5,1,0.5,0.7", ""}) {
    EXPECT_TRUE(contains(problem(head + line + "\n"), "line 2")) << line;
  }
  EXPECT_TRUE(contains(problem(head), "holds no predictions"));
  EXPECT_TRUE(contains(message_of([&] { read_predictions(folder.path("none.csv")); }), "none.csv"));
}

TEST(Predictions, AreWhatEvaluateCounts) {
  const auto backend = make_cpu_backend();
  const Dataset data = open_dataset("synthetic", {.synthetic_train = 40, .synthetic_test = 300});
  const Images test = data.load_test();
  const ImageStore images(*backend, test, 10, channel_normalisation(test));
  const Network network(*backend, Architecture::of_depths({1, 1}), 1);
  const std::vector<std::int32_t> indices = all_indices(images.count());
  std::int64_t done = 0;
  const Predictions predictions = predict_all(InferenceNetwork(network), images, indices,
                                              [&](const PassProgress& progress) { done = progress.images_done; });
  const PassResult expected = evaluate(network, images, indices);
  EXPECT_EQ(done, 300);
  EXPECT_EQ(predictions.labels, test.labels);
  EXPECT_EQ(predictions.result().right, expected.right);
  EXPECT_NEAR(predictions.result().loss, expected.loss, 1e-6);
  for (std::size_t i = 0; i < 300; ++i) {
    EXPECT_NEAR(predictions.label_probability[i], std::exp(-predictions.loss[i]), 1e-6);
    EXPECT_TRUE(!predictions.is_right(i) || predictions.label_probability[i] >= 0.1F);  // the largest of ten
  }
}

constexpr const char* kStart = R"({"event":"start","training_images":900,"validation_images":90})"
                               "\n";

TEST(FinishedRun, IsReadFromTheJournalsLastEvent) {
  const TemporaryFolder folder;
  folder.write("r/journal.jsonl", std::string(kStart) +
                                      R"({"event":"finished","blocks":[2,3],"test_accuracy":0.875,"work":3.07e13,)"
                                      R"("validation_accuracy":0.5,"parameters":7,"macs":11,"seconds":90.5})"
                                      "\n");
  const auto run = read_run(folder.path("r"));
  ASSERT_TRUE(run.has_value());
  EXPECT_EQ(run->blocks, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(run->test_accuracy, 0.875);
  EXPECT_EQ(run->validation_accuracy, 0.5);
  EXPECT_EQ(run->parameters, 7);
  EXPECT_EQ(run->macs, 11);
  EXPECT_EQ(run->work, 3.07e13);
  EXPECT_EQ(run->seconds, 90.5);
}

TEST(FinishedRun, ARunThatIsNotFinishedHasNone) {
  const TemporaryFolder folder;
  EXPECT_FALSE(read_run(folder.path("nowhere")).has_value());
  const std::string path = folder.path("r");
  folder.write("r/journal.jsonl", kStart);
  EXPECT_FALSE(read_run(path).has_value());
  folder.write("r/journal.jsonl", std::string(kStart) + R"({"event":"finished","blo)");  // killed as it wrote
  EXPECT_FALSE(read_run(path).has_value());
  folder.write("r/journal.jsonl", std::string("not JSON\n") + kStart);
  EXPECT_TRUE(contains(message_of([&] { read_run(path); }), "line 1: expected an event"));
}

TEST(FinishedRun, AJournalThatLiesIsRefusedOrPassedOver) {
  const TemporaryFolder folder;
  const auto problem = [&](const std::string& events) {
    folder.write("r/journal.jsonl", events);
    return message_of([&] { read_run(folder.path("r")); });
  };
  for (const char* blocks : {R"("2,3")", R"([2,"3"])", "{}", "null"}) {
    const std::string finished = concat(R"({"event":"finished","blocks":)", blocks, "}\n");
    EXPECT_TRUE(contains(problem(kStart + finished), "r/journal.jsonl` holds an event that is not what"));
  }
  for (const char* count : {R"("round":1.8e30)", R"("blocks":[2,1e19])", R"("stages":[{"new":1e300}])"}) {
    const std::string decision = concat(R"({"event":"decision",)", count, "}\n");
    EXPECT_TRUE(contains(problem(kStart + decision), "counts that are whole")) << count;
  }
  // What is only of use where it can be told.
  folder.write("r/architecture.json", Architecture::of_depths({2, 1}).to_json());
  for (const char* blocks : {"[-1,1]", "[4000000000000000000,1]", "[0,1]", "[1]"}) {
    const std::string epoch = concat(R"({"event":"epoch","blocks":)", blocks, "}\n");
    EXPECT_EQ(problem(kStart + epoch + R"({"event":"finished","blocks":[2,1],"parameters":1e300})" + "\n"), "no error");
    const auto run = read_run(folder.path("r"));
    EXPECT_FALSE(run->work.has_value()) << blocks;
    EXPECT_EQ(run->parameters, cost_of(Architecture::of_depths({2, 1})).total().parameters());
  }
}

TEST(FinishedRun, WhatTheJournalLacksIsDerived) {
  const TemporaryFolder folder;
  folder.write("r/architecture.json", Architecture::of_depths({2, 1}).to_json());
  folder.write("r/journal.jsonl", std::string(kStart) + R"({"event":"epoch","blocks":[1,1]})"
                                                        "\n"
                                                        R"({"event":"epoch","blocks":[2,1]})"
                                                        "\n"
                                                        R"({"event":"finished","blocks":[2,1],"test_accuracy":0.5})"
                                                        "\n");
  const auto run = read_run(folder.path("r"));
  ASSERT_TRUE(run && run->macs && run->work && run->parameters);
  // By hand: stem 32*32*9*3*16; a block of stage 1 32*32*9*16*16*2; stage 2 16*16*(9*16*32 + 9*32*32 + 16*32); 32*10.
  const double stem = 442'368, block = 4'718'592, second = 3'670'016, classifier = 320;
  EXPECT_EQ(*run->macs, static_cast<std::int64_t>(stem + 2 * block + second + classifier));
  EXPECT_DOUBLE_EQ(*run->work, (2 * (stem + second + classifier) + 3 * block) * (900 + 90 / 3.0));
}

TEST(Table, AlignsForPeopleAndQuotesForPrograms) {
  Table table({"a", "b"});
  table.add({"wide", "1"});
  table.add({"x,\"y\"", "±22"});
  EXPECT_EQ(table.text(), "a        b\nwide     1\nx,\"y\"  ±22\n");
  EXPECT_EQ(table.csv(), "a,b\nwide,1\n\"x,\"\"y\"\"\",±22\n");
  EXPECT_THROW(table.add({"one"}), std::logic_error);
  EXPECT_EQ(in_powers(3.07e13), "3.07e13");
  EXPECT_EQ(in_powers(9.999e9), "1.00e10");
  EXPECT_EQ(in_powers({}), "-");
  EXPECT_EQ(exact(0.1), "0.1");
  EXPECT_EQ(exact({}), "");
}

TEST(SweepTable, ShowsValidationOnlyWhereThereIsSome) {
  std::vector<SweepRow> rows(3);
  for (std::size_t i = 0; i < 3; ++i) {
    rows[i] = {.arm = i < 2 ? "a" : "b", .seed = i, .run = {.path = "", .blocks = {1, 2}}};
    rows[i].run.test_accuracy = 0.9 + 0.01 * static_cast<double>(i);
  }
  EXPECT_FALSE(contains(sweep_text(rows), "validation"));
  EXPECT_TRUE(contains(sweep_text(rows), "90.50% +- 0.71"));
  EXPECT_TRUE(contains(sweep_csv(rows), "\na,1,\"1,2\",,,,0.91,,\n"));
  rows[2].run.validation_accuracy = 0.25;
  EXPECT_TRUE(contains(sweep_text(rows), "25.00%"));
}

class Comparing : public testing::Test {
 protected:
  /// A finished run; with `predicted`, what it said of four images of class 0.
  void add(const std::string& run, double accuracy, const std::vector<std::int32_t>& predicted = {}) const {
    folder_.write(run + "/journal.jsonl", std::string(kStart) +
                                              R"({"event":"finished","blocks":[1],"work":1e9,"seconds":60,)" +
                                              "\"test_accuracy\":" + std::to_string(accuracy) + "}\n");
    if (predicted.empty()) return;
    const std::vector<float> any(predicted.size(), 0.5F);
    write_predictions(predictions_file(folder_.path(run)), {.labels = std::vector<std::int32_t>(predicted.size(), 0),
                                                            .predicted = predicted,
                                                            .label_probability = any,
                                                            .loss = any});
  }

  /// Three arms of a sweep: b is 2 points better than a, c within .05 of a.
  void add_sweep() const {
    for (int seed = 1; seed <= 5; ++seed) {
      const std::string folder = "/seed-" + std::to_string(seed);
      const double noise = 0.0004 * (seed - 3);
      add("s/a" + folder, 0.90 + noise);
      add("s/b" + folder, 0.92 + noise);
      add("s/c" + folder, 0.9001 + noise);
    }
    folder_.write("s/c/seed-6/journal.jsonl", kStart);
  }

  std::string problem(const std::vector<std::string>& words) const {
    return message_of([&] { read_arms(words); });
  }

  TemporaryFolder folder_;
};

TEST_F(Comparing, SaysBetterWorseAndTie) {
  add_sweep();
  Arms arms = read_arms({folder_.path("s")});
  ASSERT_EQ(arms.arms.size(), 3U);
  EXPECT_EQ(arms.left_out, (std::vector{folder_.path("s/c/seed-6")}));
  const Comparison all = compare(arms.arms);
  ASSERT_EQ(all.pairs.size(), 3U);
  EXPECT_EQ(all.pairs[0].verdict, "worse");   // a, b
  EXPECT_EQ(all.pairs[1].verdict, "a tie");   // a, c
  EXPECT_EQ(all.pairs[2].verdict, "better");  // b, c
  EXPECT_DOUBLE_EQ(all.pairs[1].p_equivalent, std::min(1.0, 3.0 * all.pairs[1].difference->p_equivalent));
  EXPECT_EQ(compare(arms.arms, {.margin = 0.0002}).pairs[1].verdict, "not settled");

  const Comparison against = compare(arms.arms, {.against = "b"});
  ASSERT_EQ(against.pairs.size(), 2U);
  EXPECT_EQ(against.pairs[1].verdict, "worse");
  EXPECT_TRUE(contains(message_of([&] { compare(arms.arms, {.against = "d"}); }), "[--against] there is no arm `d`"));

  const std::string text = comparison_text(all);
  for (const char* part : {"a tie", "better", "left out", "89.92 89.96 90.00 90.04 90.08", "1.00e9", "Holm"}) {
    EXPECT_TRUE(contains(text, part));
  }
  const std::string csv = comparison_csv(all);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 15 + 3 + 3);
  EXPECT_TRUE(contains(csv, "\ndifference,a,c,,"));
  EXPECT_TRUE(contains(comparison_picture(all, "it's.svg"), "set output 'it''s.svg'"));
}

TEST_F(Comparing, TheImagesPartComesFromThePredictions) {
  // Images right in both seeds of an arm: a all four; b three, of which one differs from seed to seed.
  add("a/seed-1", 1.0, {0, 0, 0, 0});
  add("a/seed-2", 1.0, {0, 0, 0, 0});
  add("b/seed-1", 0.75, {0, 0, 0, 1});
  add("b/seed-2", 0.5, {0, 0, 2, 1});
  const Arms arms = read_arms({folder_.path("a"), folder_.path("b")});
  EXPECT_EQ(arms.arms[1].shares.right, (std::vector{1.0, 1.0, 0.5, 0.0}));
  const Comparison comparison = compare(arms.arms);
  EXPECT_TRUE(comparison.has_images);
  // Differences 0, 0, .5, 1: variance .6875/3; tosses .25/1 on one image of four.
  EXPECT_NEAR(comparison.pairs[0].difference->image_variance, (0.6875 / 3.0 - 0.25 / 4.0) / 4.0, 1e-12);
  // Where a run saw other images, nothing can be paired.
  add("c/seed-1", 1.0, {0, 0, 0});
  for (const Arm& arm : read_arms({folder_.path("a"), folder_.path("c")}).arms) EXPECT_TRUE(arm.shares.right.empty());
}

TEST_F(Comparing, NamesArmsInEveryWay) {
  for (int seed = 1; seed <= 10; ++seed) add("x/a/seed-" + std::to_string(seed), 0.5 + seed / 100.0);
  add("alone", 0.9);
  add("y/a/seed-1", 0.7);
  const std::string alone = folder_.path("alone"), a = folder_.path("x/a");
  const Arms arms = read_arms({a + "/", alone, "both=" + alone + "," + a});
  EXPECT_EQ(arms.arms[0].name, "a");
  EXPECT_EQ(arms.arms[0].accuracies().back(), 0.6);  // seed 10 is the last
  EXPECT_EQ(arms.arms[1].name, "alone");
  EXPECT_EQ(arms.arms[2].runs.size(), 11U);
  EXPECT_EQ(compare(arms.arms).pairs[0].difference.has_value(), false);
  EXPECT_TRUE(contains(comparison_text(compare(arms.arms)), "not settled: one seed"));

  EXPECT_TRUE(contains(problem({a, folder_.path("y/a")}), "two arms are called `a`"));
  EXPECT_TRUE(contains(problem({folder_.path("nowhere")}), "expected a run, a folder of runs"));
  EXPECT_TRUE(contains(problem({"b=" + folder_.path("x")}), "is no run"));
  folder_.write("z/seed-1/journal.jsonl", kStart);
  EXPECT_TRUE(contains(problem({folder_.path("z")}), "none of its runs is finished"));
  folder_.write("w/journal.jsonl", std::string(kStart) + R"({"event":"finished","blocks":[1]})"
                                                         "\n");
  EXPECT_TRUE(contains(problem({folder_.path("w")}), "has no test set"));
}

}  // namespace
}  // namespace stagewise
