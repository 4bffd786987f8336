// What a run writes and reads: models, the journal, the folder; and the small things they are made of.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "cpu/cpu_backend.h"
#include "search/checkpoint.h"
#include "search/importance.h"
#include "search/network_drawing.h"
#include "search/run/directory.h"
#include "search/run/journal.h"
#include "search/run/text.h"
#include "search/training/learner.h"
#include "search/training/model_file.h"
#include "search/training/network_tensors.h"
#include "search/training/run_data.h"
#include "tensor/atomic_file.h"
#include "tensor/safetensors.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

namespace fs = std::filesystem;

class RunFiles : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path(name); }

  /// A saved network of one stage, for images of 8x8.
  std::string saved_model() {
    Architecture architecture = Architecture::of_depths({2});
    architecture.height = architecture.width = 8;
    architecture.classes = 3;
    const Network network(*backend_, architecture, 7);
    save_model(path("model.safetensors"), network, {.scale = {1, 2, 3}, .offset = std::vector<float>(192, 0.5f)},
               {"cat", "dog", "eel"});
    return path("model.safetensors");
  }

  /// What loading says after `change` was done to the saved file.
  std::string error_after(const std::function<void(Safetensors&)>& change) {
    Safetensors file = read_safetensors(saved_model());
    change(file);
    write_safetensors(path("changed.safetensors"), file);
    return message_of([&] { load_model(*backend_, path("changed.safetensors")); });
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend({.threads = 1});
  TemporaryFolder folder_;
};

TEST_F(RunFiles, AModelComesBackWithItsClassesAndNormalisation) {
  const std::string file = saved_model();
  const Model model = load_model(*backend_, file);
  EXPECT_EQ(model.classes, (std::vector<std::string>{"cat", "dog", "eel"}));
  ASSERT_TRUE(model.normalisation.has_value());
  EXPECT_EQ(model.normalisation->scale, (std::vector<float>{1, 2, 3}));
  save_model(path("again.safetensors"), *model.network, *model.normalisation, model.classes);
  EXPECT_EQ(read_file(path("again.safetensors")), read_file(file));
}

TEST_F(RunFiles, AFolderStandsForTheModelInIt) {
  saved_model();
  EXPECT_EQ(load_architecture(folder_.path()).depths(), (std::vector<std::int64_t>{2}));
  EXPECT_TRUE(contains(message_of([&] { load_architecture("/"); }), "holds no model.safetensors"));
}

TEST_F(RunFiles, AModelThatIsNotWholeNamesTheTensor) {
  const std::string name = "stages.0.blocks.1.conv1.weight";
  EXPECT_TRUE(contains(error_after([&](Safetensors& file) { file.tensors.erase(name); }), "lacks the tensor `" + name));
  EXPECT_TRUE(contains(error_after([&](Safetensors& file) {
                         auto& entry = file.tensors.at(name);
                         entry.shape = Shape{16, 3, 16, 3};
                       }),
                       "expected `" + name + "` to be float32 [16,3,3,16], it is float32 [16,3,16,3]"));
  EXPECT_TRUE(contains(
      error_after([&](Safetensors& file) { file.tensors["stages.0.blocks.9.conv1.weight"] = file.tensors.at(name); }),
      "`stages.0.blocks.9.conv1.weight`"));
  EXPECT_TRUE(contains(error_after([](Safetensors& file) { file.tensors.erase("normalisation.scale"); }),
                       "lacks the tensor `normalisation.scale`"));
}

TEST_F(RunFiles, WeightsThatAreNotNumbersNameTheTensorAndTheFile) {
  for (const char* name : {"stages.0.blocks.1.conv1.weight", "stages.0.blocks.0.batch_norm2.running_variance",
                           "classifier.bias", "normalisation.scale", "normalisation.offset"}) {
    for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()}) {
      const std::string error = error_after([&](Safetensors& file) {
        auto& bytes = file.tensors.at(name).bytes;
        std::memcpy(bytes.data() + bytes.size() - sizeof value, &value, sizeof value);
      });
      EXPECT_TRUE(contains(error, path("changed.safetensors") + "`: element "));
      EXPECT_TRUE(contains(error, concat("of `", name, "` is ", value)));
    }
  }
  const Model model = load_model(*backend_, saved_model());
  EXPECT_NO_THROW(require_finite(*model.network, "the network"));
  model.network->tensors().at("classifier.bias").data<float>()[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(message_of([&] { require_finite(*model.network, "epoch 3"); }),
            "epoch 3: element 2 of `classifier.bias` is nan, not a finite number: these weights can't be used");
}

TEST_F(RunFiles, ACheckpointsWeightsAndItsOptimisersStateAreNumbers) {
  Learner learner;
  learner.network = std::make_unique<Network>(*backend_, Architecture::of_depths({1}), 7);
  const std::map<std::string, Tensor> tensors = learner.network->tensors();
  const std::string name = "stages.0.blocks.0.conv1.weight";
  learner.optimiser->set_state("velocity." + name, Tensor::zeros(*backend_, tensors.at(name).shape()));
  Safetensors file;
  store_network(*learner.network, "", file);
  store_state(*learner.optimiser, file);
  const auto optimiser = make_optimiser();
  EXPECT_NO_THROW(load_state(file, *backend_, *optimiser));
  std::memset(file.tensors.at("velocity." + name).bytes.data(), 0xFF, 4);
  EXPECT_TRUE(contains(message_of([&] { load_state(file, *backend_, *optimiser); }), "`velocity." + name + "`"));
  std::memset(file.tensors.at(name).bytes.data(), 0xFF, 4);
  EXPECT_TRUE(
      contains(message_of([&] { load_network(file, "", "FILE", *learner.network); }), "`FILE`: element 0 of `" + name));
}

TEST_F(RunFiles, ACheckpointThatLiesIsRefused) {
  const std::string file = path("checkpoint.safetensors");
  Learner learner;
  learner.network = std::make_unique<Network>(*backend_, Architecture::of_depths({1}), 7);
  learner.optimiser = make_optimiser();
  learner.average.emplace(0.5);
  save_checkpoint(file, {}, learner, nullptr);
  const Safetensors sound = read_safetensors(file);
  const auto problem = [&](const std::string& key, const std::string& value) {
    Safetensors changed = sound;
    changed.metadata[key] = value;
    write_safetensors(file, changed);
    return message_of([&] { load_checkpoint(read_checkpoint(file), *backend_, {}); });
  };
  EXPECT_EQ(problem("more", "is passed over"), "no error");
  for (const char* decay : {"", "half", "[0.5]", "\"0.5\"", "1e999"}) {
    EXPECT_TRUE(contains(problem("average_decay", decay), "expected the metadata's `average_decay` to be a number"));
  }
  EXPECT_TRUE(contains(problem("average_decay", "2"), "decay"));
  EXPECT_TRUE(contains(problem("architecture", "{}"), "checkpoint.safetensors`: [architecture]"));
  EXPECT_TRUE(contains(problem("architecture", Architecture::of_depths({1000, 1000, 1000}).to_json()), "needs"));
  for (const char* count : {"/steps", "/journal_bytes", "/position/batch"}) {
    nlohmann::json state = nlohmann::json::parse(sound.metadata.at("state"));
    state[nlohmann::json::json_pointer(count)] = -1;
    EXPECT_TRUE(contains(problem("state", state.dump()), "below 0"));
    state[nlohmann::json::json_pointer(count)] = 1.07e24;  // which is what a whole number of too many digits is read as
    EXPECT_TRUE(contains(problem("state", state.dump()), "a number that nothing in it reaches"));
  }
}

TEST_F(RunFiles, MetadataThatLiesIsRefused) {
  EXPECT_TRUE(contains(error_after([](Safetensors& file) { file.metadata["architecture"] = "{}"; }), "changed"));
  EXPECT_TRUE(contains(error_after([](Safetensors& file) { file.metadata["classes"] = "[\"one\"]"; }), "1 classes"));
  EXPECT_TRUE(contains(error_after([](Safetensors& file) { file.metadata["classes"] = "one"; }), "JSON list"));
  EXPECT_TRUE(contains(error_after([](Safetensors& file) {
                         Architecture huge = Architecture::of_depths({1000, 1000, 1000});
                         file.metadata["architecture"] = huge.to_json();
                       }),
                       "needs"));
}

TEST_F(RunFiles, TheVariantIsSeenInTheFile) {
  const std::string file = saved_model();
  EXPECT_NO_THROW(load_model(*backend_, file, Variant::standard));
  EXPECT_TRUE(contains(message_of([&] { load_model(*backend_, file, Variant::paper); }), "not paper"));
}

TEST_F(RunFiles, TheJournalGoesOnBehindWhatTheCheckpointCounted) {
  std::int64_t kept = 0;
  {
    Journal journal(path("journal.jsonl"));
    journal.write({{"event", "one"}});
    kept = journal.bytes();
    journal.write({{"event", "lost"}});
  }
  {
    Journal journal(path("journal.jsonl"), kept);
    journal.write({{"event", "two"}});
  }
  EXPECT_EQ(read_file(path("journal.jsonl")), "{\"event\":\"one\"}\n{\"event\":\"two\"}\n");
  EXPECT_TRUE(contains(message_of([&] { Journal(path("journal.jsonl"), 1000); }), "fewer than the 1000"));
}

TEST_F(RunFiles, TwoWritersOfOneJournalAreRefused) {
  const Journal journal(path("journal.jsonl"));
  EXPECT_TRUE(contains(message_of([&] { Journal(path("journal.jsonl"), 0); }), "another process"));
}

TEST_F(RunFiles, ANewRunTakesNoFolderThatHoldsSomething) {
  EXPECT_EQ(RunDirectory::create(path("run/"), "train").path(), path("run"));
  write_file_atomically(RunDirectory::create(path("run"), "train").checkpoint(), "x");  // still empty
  EXPECT_TRUE(contains(message_of([&] { RunDirectory::create(path("run"), "train"); }), "--resume"));
  write_file_atomically(path("file"), "x");
  EXPECT_TRUE(contains(message_of([&] { RunDirectory::create(path("file"), "train"); }), "is a file"));
  EXPECT_TRUE(contains(message_of([&] { RunDirectory::check_free(path("file/run")); }), "is a file"));
  EXPECT_TRUE(contains(message_of([&] { RunDirectory::create(folder_.path(), "train"); }), "isn't empty"));
  EXPECT_TRUE(contains(message_of([&] { RunDirectory::resume(path("nowhere")); }), "no run to go on with"));
}

TEST_F(RunFiles, AFolderBelongsToOneRunAtATime) {
  {
    const RunDirectory run = RunDirectory::create(path("run"), "train");
    EXPECT_TRUE(contains(message_of([&] { RunDirectory::create(path("run"), "train"); }), "another process"));
    write_file_atomically(run.checkpoint(), "x");
    EXPECT_TRUE(contains(message_of([&] { RunDirectory::resume(path("run")); }), "another process"));
    EXPECT_TRUE(RunDirectory::holds_run(path("run")));
  }
  EXPECT_NO_THROW(RunDirectory::resume(path("run")));
}

TEST_F(RunFiles, AFolderThatCannotBeWrittenShowsBeforeAnythingIsMade) {
  fs::create_directories(path("locked"));
  ASSERT_EQ(chmod(path("locked").c_str(), 0555), 0);
  const bool root = geteuid() == 0;  // who may write everywhere
  if (root) {
    ASSERT_EQ(chmod(folder_.path().c_str(), 0755), 0);
    ASSERT_EQ(seteuid(65534), 0);
  }
  const std::string below = message_of([&] { RunDirectory::check_free(path("locked/deep/run")); });
  const std::string itself = message_of([&] { RunDirectory::create(path("locked"), "train"); });
  if (root) {
    ASSERT_EQ(seteuid(0), 0);
  }
  EXPECT_EQ(below, "[--out] cannot write to `" + path("locked") + "`: Permission denied");
  EXPECT_EQ(itself, below);
  EXPECT_TRUE(fs::is_empty(path("locked")));
}

TEST_F(RunFiles, ADiscardedRunLeavesNothing) {
  const RunDirectory run = RunDirectory::create(path("deep/run"), "train");
  write_file_atomically(run.config(), "x");
  run.discard();
  EXPECT_FALSE(fs::exists(run.path()));
  fs::create_directories(path("there"));
  const RunDirectory in_place = RunDirectory::create(path("there"), "train");
  write_file_atomically(in_place.config(), "x");
  in_place.discard();
  EXPECT_TRUE(fs::is_empty(path("there")));
}

TEST(Text, NumbersAsPeopleReadThem) {
  EXPECT_EQ(with_thousands(0), "0");
  EXPECT_EQ(with_thousands(999), "999");
  EXPECT_EQ(with_thousands(1000), "1,000");
  EXPECT_EQ(with_thousands(-123456), "-123,456");
  EXPECT_EQ(with_thousands(1234567), "1,234,567");
  EXPECT_EQ(percent(0.9338), "93.38%");
  EXPECT_EQ(in_millions(92'735'488), "92.7 M");
  EXPECT_EQ(in_millions(640), "640");
  EXPECT_EQ(duration(59.4), "59 s");
  EXPECT_EQ(duration(59.6), "1 min 00 s");
  EXPECT_EQ(duration(7500), "2 h 05 min");
  EXPECT_EQ(left("█▓", 4) + "|", "█▓  |");
}

TEST(Text, TheDrawnBarsAreAsLongAsTheStagesAreDeep) {
  const std::string drawing = draw_network(Architecture::of_depths({2, 3}), {"a", "b"}, {0, 1});
  EXPECT_EQ(drawing,
            "  stage 1  32x32x16     ██     2 blocks  a\n"
            "  stage 2  16x16x32     ██▓    3 blocks  b");
  Architecture odd = Architecture::of_depths({1, 1, 1});
  odd.height = 33;
  odd.width = 18;
  EXPECT_EQ(map_size(odd, 0), "33x18");
  EXPECT_EQ(map_size(odd, 2), "9x5");
}

/// A folder whose images are of one colour each: in train/ those below 100, in val/ the others.
void write_colours(const TemporaryFolder& folder, bool with_validation) {
  for (const int colour : {10, 20, 30, 40, 150, 250}) {
    if (colour > 100 && !with_validation) continue;
    for (const char* const name : {"ant", "bee"}) {
      folder.write(concat(colour > 100 ? "val/" : "train/", name, '/', colour, ".ppm"),
                   "P6 2 2 255 " + std::string(12, static_cast<char>(colour)));
    }
  }
}

TEST(RunData, WhatTheDataHoldsOutIsValidatedOnAndNeverTrainedOn) {
  const TemporaryFolder folder;
  write_colours(folder, true);
  const auto backend = make_cpu_backend();
  for (const double validation : {0.0, 0.25}) {
    const DataOptions options{.data = folder.path(), .image_size = 2, .validation = validation};
    const RunData data = open_run_data(*backend, options, Variant::standard, DType::float32);
    EXPECT_EQ(data.train, (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(data.validation, (std::vector<std::int32_t>{8, 9, 10, 11}));
    EXPECT_NEAR(data.normalisation.offset[0] / data.normalisation.scale[0], 25.0, 1e-4);  // the mean of 10, 20, 30, 40
    EXPECT_EQ(data.fingerprint.counts, (std::vector<std::int64_t>{6, 6}));
    EXPECT_EQ(data.fingerprint.held_out, 4);
  }
  const DataOptions few{.data = folder.path(), .image_size = 2, .train_images = 4};
  EXPECT_EQ(open_run_data(*backend, few, Variant::standard, DType::float32).train.size(), 4U);
  EXPECT_EQ(open_run_data(*backend, few, Variant::standard, DType::float32).validation.size(), 4U);
}

TEST(RunData, TheNormalisationIsOfWhatIsTrainedOn) {
  const TemporaryFolder folder;
  write_colours(folder, false);
  const auto backend = make_cpu_backend();
  for (const std::int64_t train_images : {0, 4}) {
    const DataOptions options{.data = folder.path(), .image_size = 2, .train_images = train_images, .validation = 0.25};
    for (const Variant variant : {Variant::standard, Variant::paper}) {
      const RunData data = open_run_data(*backend, options, variant, DType::float32);
      double sum = 0.0;
      for (const std::int32_t index : data.train) sum += 10 * (index % 4 + 1);
      const double unit = variant == Variant::paper ? 1.0 / 255 : data.normalisation.scale[0];
      EXPECT_NEAR(data.normalisation.offset[0] / unit, sum / static_cast<double>(data.train.size()), 1e-4);
    }
  }
}

TEST(RunData, AStratifiedDrawIsEvenAndPartOfEveryLargerOne) {
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 300; ++i) labels.push_back(i % 3);
  const auto few = stratified_draw(labels, 30, 5), many = stratified_draw(labels, 60, 5);
  std::array<int, 3> counts{};
  for (const std::int32_t index : few) ++counts[static_cast<std::size_t>(labels[static_cast<std::size_t>(index)])];
  EXPECT_EQ(counts, (std::array<int, 3>{10, 10, 10}));
  EXPECT_TRUE(std::includes(many.begin(), many.end(), few.begin(), few.end()));
  EXPECT_NE(few, stratified_draw(labels, 30, 6));
  EXPECT_EQ(stratified_draw(labels, 0, 5).size(), labels.size());
  EXPECT_THROW(stratified_draw(labels, 301, 5), Error);
}

TEST(Importance, WindowsAreThePapersOnItsMapsAndStayFewOnLargerOnes) {
  for (const std::int64_t side : {32, 16, 8}) EXPECT_EQ(pooling_window(side, side).height, 8);
  EXPECT_EQ(pooling_window(4, 7).height, 4);
  EXPECT_EQ(pooling_window(4, 7).width, 7);
  EXPECT_EQ(pooling_window(128, 128).width, 32);
}

}  // namespace
}  // namespace stagewise
