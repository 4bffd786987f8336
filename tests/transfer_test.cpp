// A network that was found on some images learns others.
#include <nlohmann/json.hpp>

#include "tests/picture_files.h"
#include "tests/program.h"

namespace stagewise {
namespace {

/// A run on ten classes of 32x32, and a folder of three classes that are colours.
class Transfer : public Program {
 protected:
  void SetUp() override {
    ASSERT_EQ(run(small("train", "found")).code, 0);
    for (const char* const part : {"train", "test"}) {
      for (int i = 0; i < 12; ++i) {
        const auto shade = static_cast<std::uint8_t>(10 * i);
        folder_.write(concat("new/", part, "/red/", i, ".ppm"), one_colour({250, shade, 0}));
        folder_.write(concat("new/", part, "/green/", i, ".ppm"), one_colour({shade, 250, 0}));
        folder_.write(concat("new/", part, "/blue/", i, ".ppm"), one_colour({0, shade, 250}));
      }
    }
  }

  static std::string one_colour(const std::vector<std::uint8_t>& colour) {
    std::vector<std::uint8_t> pixels;
    for (int i = 0; i < 9 * 9; ++i) pixels.insert(pixels.end(), colour.begin(), colour.end());
    return picture_files::ppm(9, 9, pixels);
  }

  static Arguments to_colours(const std::string& out, const Arguments& more = {}, const std::string& epochs = "20") {
    Arguments arguments = {"transfer", "found", "--data", "new", "--image-size", "16",
                           "--epochs", epochs,  "--out",  out,   "--quiet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  Safetensors tensors(const std::string& run) const { return read_safetensors(path(run + "/model.safetensors")); }

  nlohmann::json finished(const std::string& run) const {
    std::ifstream journal(path(run + "/journal.jsonl"));
    std::string line, last;
    while (std::getline(journal, line)) last = line;
    return nlohmann::json::parse(last);
  }
};

TEST_F(Transfer, TakesTheTrunkAndDrawsAClassifierForTheNewClasses) {
  const Result result = run(to_colours("out", {"--learning-rate", "1e-30"}, "1"));
  ASSERT_EQ(result.code, 0) << result.error;
  const Safetensors found = tensors("found"), out = tensors("out");
  for (const auto& [name, entry] : found.tensors) {
    const SafetensorsEntry& other = out.tensors.at(name);
    if (name.starts_with("normalisation.")) continue;  // of the new images
    if (name.starts_with("classifier.")) {
      EXPECT_EQ(other.shape[0], 3);
    } else {
      EXPECT_EQ(other.shape, entry.shape) << name;
      if (contains(name, ".conv") && name.ends_with(".weight"))
        EXPECT_EQ(other.bytes, entry.bytes) << name;  // nothing was learnt
    }
  }
  EXPECT_EQ(out.metadata.at("classes"), R"(["blue","green","red"])");
  EXPECT_NE(out.tensors.at("normalisation.scale").bytes, found.tensors.at("normalisation.scale").bytes);
}

TEST_F(Transfer, FrozenOnlyTheClassifierLearns) {
  ASSERT_EQ(run(to_colours("out", {"--freeze", "--learning-rate", "0.5"})).code, 0);
  const Safetensors found = tensors("found"), out = tensors("out");
  std::size_t same = 0;
  for (const auto& [name, entry] : found.tensors) {  // the running means and variances too
    if (name.starts_with("normalisation.") || name.starts_with("classifier.")) continue;
    EXPECT_EQ(out.tensors.at(name).bytes, entry.bytes) << name;
    ++same;
  }
  EXPECT_GT(same, 20U);
  EXPECT_EQ(finished("out").at("images_seen"), 20 * 36) << "a third of the work is the whole of the passes";
  EXPECT_GE(finished("out").at("test_right").get<int>(),
            30);  // of 36: colours are told apart by the means of any filters
  expect_refused(to_colours("x", {"--freeze", "--grow"}), "a network whose trunk is frozen can't grow");
}

TEST_F(Transfer, LearnsWithAllOfItAndGrowsOnTheNewImages) {
  ASSERT_EQ(run(to_colours("all", {"--learning-rate", "0.05"})).code, 0);
  EXPECT_GE(finished("all").at("test_right").get<int>(), 34);
  const Result result = run(to_colours("grown", {"--grow", "--grow-to", "2,1", "--criterion", "uniform"}));
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_TRUE(contains(read_file(path("grown/journal.jsonl")), R"("event":"insertion")"));
  const Safetensors grown = tensors("grown");
  EXPECT_TRUE(grown.tensors.contains("stages.0.blocks.1.conv1.weight"));
  expect_refused(to_colours("x", {"--strategy", "paper"}), "paper draws every network anew");
}

TEST_F(Transfer, IsRepeatedFromItsConfigAndGoesOnAfterAKill) {
  const Arguments options = to_colours("out", {"--freeze"});
  ASSERT_EQ(run(options).code, 0);
  ASSERT_EQ(run({"transfer", "--config", "out/config.toml", "--out", "again", "--quiet"}).code, 0);
  EXPECT_EQ(model("again"), model("out"));
  const pid_t child = start(to_colours("killed", {"--freeze", "--save-minutes", "0"}));
  wait_for_lines(child, "killed", 2);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  ASSERT_EQ(run({"transfer", "--resume", "killed", "--quiet"}).code, 0);
  EXPECT_EQ(model("killed"), model("out"));
}

TEST_F(Transfer, RefusesWhatItCannotDo) {
  expect_refused({"transfer", "--data", "new"}, "expected the run whose network");
  expect_refused({"transfer", "found"}, "expected the new images: --data");
  expect_refused(to_colours("x", {"--blocks", "3,3"}), "holds a network with --blocks 1,1");
}

}  // namespace
}  // namespace stagewise
