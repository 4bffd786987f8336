// The program's trainings and searches as a person runs them: what stops them, what they go on with, what they refuse.
#include "tests/program.h"

namespace stagewise {
namespace {

/// A training on photos that stopped at an unreadable test image: everything is trained, nothing is finished.
class StoppedAtTheTest : public Program {
 protected:
  void SetUp() override {
    for (const char* name :
         {"train/cat/1.ppm", "train/cat/2.ppm", "train/dog/1.ppm", "train/dog/2.ppm", "test/cat/1.ppm"}) {
      folder_.write(std::string("photos/") + name, picture('c'));
    }
    folder_.write("photos/test/cat/broken.ppm", "no image");
    expect_refused({"train", "--data", "photos", "--image-size", "8", "--blocks", "1", "--epochs", "2", "--batch-size",
                    "2", "--out", "x", "--quiet"},
                   "broken.ppm");
  }

  static std::string picture(char grey) { return "P6\n8 8\n255\n" + std::string(192, grey); }
};

TEST_F(StoppedAtTheTest, TheModelIsThereAndSkippingGoesOn) {
  const std::string before = model("x");
  EXPECT_TRUE(contains(read_file(path("x/summary.txt")), "not measured yet"));
  expect_refused({"train", "--resume", "x"}, "broken.ppm");
  const Result skipping = run({"train", "--resume", "x", "--skip-unreadable", "--quiet"});
  EXPECT_EQ(skipping.code, 0) << skipping.error;
  EXPECT_TRUE(contains(skipping.out, " of 1 right"));
  EXPECT_EQ(model("x"), before);
}

TEST_F(StoppedAtTheTest, OtherDataIsRefusedInWordsAndTheSameElsewhereIsWelcome) {
  fs::copy(path("photos"), path("elsewhere"), fs::copy_options::recursive);
  folder_.write("photos/train/eel/1.ppm", picture('e'));
  folder_.write("photos/train/eel/2.ppm", picture('e'));
  expect_refused({"train", "--resume", "x"}, "class `eel` is new");
  fs::remove_all(path("photos/train/eel"));
  folder_.write("photos/train/cat/3.ppm", picture('d'));
  expect_refused({"train", "--resume", "x"}, "class `cat` had 2 images, now 3");
  fs::remove(path("photos/train/cat/3.ppm"));
  folder_.write("photos/train/cat/2.ppm", picture('d'));
  expect_refused({"train", "--resume", "x"}, "pixels");
  folder_.write("photos/train/cat/2.ppm", picture('c'));
  fs::rename(path("photos/train/dog"), path("photos/train/wolf"));
  expect_refused({"train", "--resume", "x"}, "class `dog` is gone");
  fs::remove_all(path("photos"));
  folder_.write("elsewhere/test/cat/broken.ppm", picture('c'));
  const Result moved = run({"train", "--resume", "x", "--data", "elsewhere", "--quiet"});
  EXPECT_EQ(moved.code, 0) << moved.error;
  EXPECT_TRUE(contains(read_file(path("x/config.toml")), "elsewhere"));
}

TEST_F(StoppedAtTheTest, AnotherRateIsWrittenDown) {
  expect_refused({"train", "--resume", "x", "--rate-factor", "0.5"}, "broken.ppm");
  EXPECT_TRUE(contains(read_file(path("x/config.toml")), "rate-factor = 0.5\n"));
  EXPECT_TRUE(contains(read_file(path("x/journal.jsonl")), "learning rate changed"));
}

TEST_F(Program, ASearchThatDoesNotGrowIsTheTraining) {
  ASSERT_EQ(run(small("train", "plain")).code, 0);
  Arguments search = small("search", "search");
  std::erase(search, "--quiet");
  const Result result = run(search);
  ASSERT_EQ(result.code, 0);
  EXPECT_TRUE(contains(result.error, "is trained as it is"));
  EXPECT_EQ(model("search"), model("plain"));
}

TEST_F(Program, ATrainingThatDivergesIsAnError) {
  const Result result =
      run(small("train", "x", {"--learning-rate", "100", "--momentum", ".9999", "--schedule", "constant"}));
  EXPECT_EQ(result.code, 2);
  EXPECT_TRUE(contains(result.error, "diverged"));
  EXPECT_FALSE(fs::exists(path("x/model.safetensors")));
}

TEST_F(Program, OfFewImagesBatchesAreSmallAndTheRunSaysSo) {
  const Result result = run({"train", "--blocks", "1", "--epochs", "1", "--synthetic-train", "60", "--out", "x"});
  EXPECT_EQ(result.code, 0);
  EXPECT_TRUE(contains(result.error, "Batches of 8, sgd, learning rate up to 0.025, weight decay 0.0005"));
}

TEST_F(Program, ASearchThatCannotBeMetLeavesNothing) {
  for (const auto& [more, message] : std::vector<std::pair<Arguments, std::string>>{
           {{"--grow-to", "2,2", "--validation", "0", "--criterion", "probe"}, "--validation"},
           {{"--strategy", "paper", "--criterion", "probe", "--validation", "0"}, "--validation"},
           {{"--strategy", "paper", "--criterion", "vip", "--step", "1000"}, "1000"},
           {{"--max-params", "1000"}, "--max-params"},
           {{"--grow-to", "2,2,2"}, "depths"}}) {
    expect_refused(small("search", "x", more), message);
    EXPECT_FALSE(fs::exists(path("x")));
  }
}

/// FNV-1a over the tensors' bytes in the order of their names.
std::uint64_t digest_of(const Safetensors& file) {
  std::uint64_t digest = 0xcbf29ce484222325U;
  for (const auto& [name, entry] : file.tensors) {
    for (const unsigned char byte : entry.bytes) digest = (digest ^ byte) * 0x100000001b3U;
  }
  return digest;
}

/// tests/data/stopped_run was stopped in the middle of a trial by the program of commit 4de33c7, which ended with these
/// bits: names, draws and files stay what they were.
TEST_F(Program, GoesOnWithARunOfAnEarlierVersionToTheSameBits) {
  fs::copy(std::string(STAGEWISE_SOURCE_DIR) + "/tests/data/stopped_run", path("x"));
  setenv("STAGEWISE_INSTRUCTION_SET", "portable", 1);
  const Result result = run({"search", "--resume", "x", "--quiet"});
  unsetenv("STAGEWISE_INSTRUCTION_SET");
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_TRUE(contains(result.out, "2,1, grown from 1,1")) << "it took a block out\n" << result.out;
  EXPECT_EQ(digest_of(read_safetensors(path("x/model.safetensors"))), 0x661d335464c70efeU);
}

}  // namespace
}  // namespace stagewise
