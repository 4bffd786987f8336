// `stagewise tune` from end to end, and what runs make of its file. On the software GPU (tests/softgpu): its times mean
// nothing, so what is looked at is what is timed, what is written and which plans are taken.
#include <gtest/gtest.h>

#include <cstdlib>

#include "cuda/cuda_backend.h"
#include "layers/network.h"
#include "tests/program.h"

namespace stagewise {
namespace {

constexpr std::int64_t kBatch = 4, kSide = 8;

/// A step of training of a network of two stages of one block.
void train_a_step(Backend& backend, DType maps) {
  Architecture architecture = Architecture::of_depths({1, 1});
  architecture.height = architecture.width = kSide;
  Network network(backend, architecture, 7);
  const Tensor x = Tensor::zeros(backend, {kBatch, kSide, kSide, 3}, maps);
  const Tensor labels = Tensor::zeros(backend, {kBatch}, DType::int32);
  Tape tape;
  const Context context{.tape = &tape, .training = true};
  tape.backward(softmax_cross_entropy(context, network.forward(context, Variable(x)), labels));
}

std::size_t named(const PlanFile& file, const std::string& start, const std::string& part = "") {
  std::size_t count = 0;
  for (const auto& [name, plan] : file.plans) count += name.starts_with(start) && name.find(part) != std::string::npos;
  return count;
}

std::size_t times(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Tuning, TimesEveryConvolutionOfAStepInEveryDirectionFusedAndBare) {
  const auto backend = make_cuda_backend();
  std::size_t calls = 0;
  const PlanFile file = tune_convolutions(
      *backend, [&] { train_a_step(*backend, DType::bfloat16); },
      [&](const TuningProgress& progress) {
        EXPECT_EQ(progress.done, calls++);
        EXPECT_EQ(progress.tuned == nullptr, progress.done == 0);
      });
  EXPECT_EQ(calls, file.plans.size() + 1);
  EXPECT_EQ(file.device, plan_device());
  // 3x3 of 3 to 16, 16 to 16, 16 to 32 and 32 to 32, and 1x1 of 16 to 32 channels.
  EXPECT_EQ(named(file, "forward, "), 5U);
  EXPECT_EQ(named(file, "forward + batch norm and ReLU on read, "), 2U) << "the second of a block";
  EXPECT_GE(named(file, "by data, "), 4U) << "nobody asks for the images' gradient";
  EXPECT_EQ(named(file, "by weights, ", "maps bfloat16, filters float32"), 4U);
  EXPECT_EQ(named(file, "by weights, ", "maps float32, filters float32"), 5U) << "from widened maps";
  for (const auto& [name, tuned] : file.plans) {
    EXPECT_GT(tuned.microseconds, 0.0) << name;
    EXPECT_FALSE(tuned.description.empty()) << name;
    // Two ways at least: whole by cuDNN, and in parts or by our direct kernel.
    EXPECT_GE(tuned.slower.size(), 1U) << name;
    for (const auto& [other, time] : tuned.slower) EXPECT_GE(time, tuned.microseconds) << name << ": " << other;
  }
  EXPECT_EQ(PlanFile::from_json(file.to_json(), "it"), file);
}

/// The software GPU's cuDNN proposes one first, which takes as long as the others.
TEST(Tuning, NeverTakesAPlanWhoseSumsAreWrong) {
  ASSERT_EQ(setenv("SOFTGPU_CUDNN", "wrong", 1), 0);
  const auto backend = make_cuda_backend();
  const PlanFile file = tune_convolutions(*backend, [&] { train_a_step(*backend, DType::float32); });
  unsetenv("SOFTGPU_CUDNN");
  EXPECT_GT(file.plans.size(), 10U);
  for (const auto& [name, tuned] : file.plans) EXPECT_FALSE(tuned.description.starts_with("engine 2")) << name;
}

TEST(Tuning, OurOwnGradientOfTheFiltersIsOneWayAmongTheOthersAndTheFileHasTheLastWord) {
  const auto backend = make_cuda_backend();
  PlanFile file = tune_convolutions(*backend, [&] { train_a_step(*backend, DType::bfloat16); });
  for (const char* engine : {kOwnEngine, kInParts}) {
    std::size_t ours = 0;
    for (auto& [name, tuned] : file.plans) {
      if (!name.starts_with("by weights, ") || name.find("maps bfloat16") == std::string::npos) continue;
      bool timed = tuned.description.starts_with("our own kernel");
      for (const auto& [other, time] : tuned.slower) timed = timed || other.starts_with("our own kernel");
      EXPECT_TRUE(timed) << name;
      tuned.engine = engine, tuned.plan.clear();
      ours += 1;
    }
    EXPECT_EQ(ours, 4U);
    const auto planned = make_cuda_backend({.plans = std::make_shared<PlanFile>(file)});
    const ConvolutionPlanText by_weights =
        planned->convolution_plan({kBatch, kSide, kSide, 16}, {16, 3, 3, 16}, {1, 1, 1}, DType::bfloat16).back();
    EXPECT_EQ(by_weights.algorithm == "own", std::string(engine) == kOwnEngine) << by_weights.algorithm;
    EXPECT_NE(by_weights.reason.find("by the plan file"), std::string::npos) << by_weights.reason;
  }
}

TEST(Tuning, NeedsACudaBackendWithCudnn) {
  const auto direct = make_cuda_backend({.direct_convolution = true});
  EXPECT_THROW(tune_convolutions(*direct, [] {}), Error);
}

class TuneProgram : public Program {
 protected:
  void SetUp() override {
    ASSERT_EQ(setenv("XDG_CACHE_HOME", path("cache").c_str(), 1), 0);
    for (const char* name : {"dark", "light"}) {
      fs::create_directories(path(std::string("images/train/") + name));
      for (int image = 0; image < 12; ++image) {
        std::string pixels(kSide * kSide * 3, *name == 'd' ? '\x20' : '\xc0');
        for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<char>(pixels[i] + (i * image) % 31);
        std::ofstream(path(concat("images/train/", name, "/", image, ".ppm")), std::ios::binary)
            << "P6 " << kSide << ' ' << kSide << " 255\n"
            << pixels;
      }
    }
  }
  Result tune(const Arguments& more = {}) const {
    Arguments arguments = {"tune", "--blocks", "1,1", "--batch-size", "8", "--image-size", "8"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  Arguments training(const std::string& out, const Arguments& more = {}) const {
    Arguments arguments = {"train", "--device", "cuda", "--data",       "images", "--image-size", "8",     "--blocks",
                           "1,1",   "--epochs", "2",    "--batch-size", "8",      "--quiet",      "--out", out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  PlanFile plans(const std::string& file) const { return PlanFile::from_json(read_file(path(file)), file); }
};

/// A choice that shows in the bits, if it is taken: our direct kernel sums in another order.
PlanFile with_one_in_parts(PlanFile file) {
  TunedPlan& tuned = file.plans.at(
      "forward, [8,8,8,16] with [16,3,3,16] to [8,8,8,16], stride 1, padding 1, maps float32, filters float32");
  tuned.engine = kInParts, tuned.plan.clear();
  return file;
}

TEST_F(TuneProgram, WritesAFileThatRunsCopyAndRepeatFromWhateverBecomesOfIt) {
  const Result tuned = tune({"--plans", "my.json"});
  ASSERT_EQ(tuned.code, 0) << tuned.error;
  EXPECT_NE(tuned.out.find("forward, [8,8,8,16] with [16,3,3,16] to [8,8,8,16]"), std::string::npos) << tuned.out;
  const PlanFile parts = with_one_in_parts(plans("my.json"));
  write_file_atomically(path("my.json"), parts.to_json());

  ASSERT_EQ(run(training("untuned")).code, 0);
  const Result first = run(training("first", {"--plans", "my.json"}));
  ASSERT_EQ(first.code, 0) << first.error;
  expect_tidy("first");
  EXPECT_EQ(plans("first/plans.json"), parts);
  EXPECT_NE(model("first"), model("untuned"));
  EXPECT_FALSE(fs::exists(path("untuned/plans.json")));
  EXPECT_NE(read_file(path("untuned/config.toml")).find("plans = \"none\""), std::string::npos);

  // Stopped, moved, and the file it was begun with is gone.
  const pid_t child = start(training("stopped", {"--plans", "my.json"}));
  ASSERT_TRUE(wait_for_lines(child, "stopped", 2)) << finish(child).error;
  kill(child, SIGINT);
  EXPECT_EQ(finish(child).code, 130);
  fs::rename(path("stopped"), path("moved"));
  write_file_atomically(path("my.json"), "gone");
  const Result resumed = run({"train", "--resume", "moved", "--quiet"});
  ASSERT_EQ(resumed.code, 0) << resumed.error;
  EXPECT_EQ(model("moved"), model("first"));

  // And once more from the other's config, which names the other's copy.
  const Result again = run({"train", "--config", "first/config.toml", "--quiet", "--out", "again"});
  ASSERT_EQ(again.code, 0) << again.error;
  EXPECT_EQ(model("again"), model("first"));
}

TEST_F(TuneProgram, WritesAFileOfYourOwnThatIsFoundAndAddedTo) {
  ASSERT_EQ(tune().code, 0);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path("cache/stagewise"))) files.push_back(entry.path());
  ASSERT_EQ(files.size(), 1U);
  const auto own = [&] { return PlanFile::from_json(read_file(files[0]), "own"); };
  const std::size_t before = own().plans.size();
  EXPECT_EQ(tune({"--precision", "bf16"}).code, 0);
  EXPECT_GT(own().plans.size(), before);
  EXPECT_EQ(own().plans.size() - before, named(own(), "", "bfloat16")) << "what both need is there once";

  const auto described = [&](const std::string& batch) {
    return run({"describe", "--blocks", "1,1", "--image-size", "8", "--plan", "--device", "cuda", "--batch-size",
                batch})
        .out;
  };
  EXPECT_NE(described("8").find(" tuned plans in " + files[0].string()), std::string::npos) << described("8");
  EXPECT_EQ(times(described("8"), "by the plan file"), 14U);
  EXPECT_EQ(times(described("8"), "first in cuDNN's order"), 1U) << "nobody asks for the images' gradient";
  EXPECT_EQ(times(described("9"), "by the plan file"), 0U);

  // Of another driver it is passed over where it is found, and refused where it is named.
  PlanFile foreign = own();
  foreign.device.driver = "1.0";
  write_file_atomically(files[0], foreign.to_json());
  const Result passed_over = run(training("without"));
  EXPECT_EQ(passed_over.code, 0);
  EXPECT_NE(passed_over.error.find("a driver for CUDA 1.0"), std::string::npos) << passed_over.error;
  EXPECT_NE(passed_over.error.find("this goes on without"), std::string::npos) << passed_over.error;
  EXPECT_FALSE(fs::exists(path("without/plans.json")));
  expect_refused(training("refused", {"--plans", files[0]}),
                 "tune again (stagewise tune), or go without (--plans none)");
  EXPECT_FALSE(fs::exists(path("refused")));
}

}  // namespace
}  // namespace stagewise
