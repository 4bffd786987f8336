// The program as a person runs it: exit codes, messages, and runs that are killed, stopped, or out of disk.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cuda/cuda_backend.h"
#include "tensor/atomic_file.h"
#include "tensor/safetensors.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

struct Result {
  int code = -1;  // 128 + the signal, where one ended it
  std::string out, error;
};

class Program : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path(name); }

  /// Starts the program in the test's folder; a limit on the size of its files stands in for a full disk.
  pid_t start(const Arguments& arguments, rlim_t largest_file = RLIM_INFINITY) const {
    std::vector<const char*> argv = {STAGEWISE_PROGRAM};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    argv.push_back(nullptr);
    const std::string program = fs::absolute(STAGEWISE_PROGRAM);
    const pid_t child = fork();
    if (child != 0) return child;
    if (chdir(folder_.path().c_str()) != 0) _exit(99);
    dup2(open("out.txt", O_WRONLY | O_CREAT | O_TRUNC, 0644), STDOUT_FILENO);
    dup2(open("error.txt", O_WRONLY | O_CREAT | O_TRUNC, 0644), STDERR_FILENO);
    if (largest_file != RLIM_INFINITY) {
      signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{largest_file, largest_file};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    execv(program.c_str(), const_cast<char* const*>(argv.data()));
    _exit(98);
  }

  Result finish(pid_t child) const {
    int status = 0;
    waitpid(child, &status, 0);
    return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            .out = read_file(path("out.txt")),
            .error = read_file(path("error.txt"))};
  }

  Result run(const Arguments& arguments) const { return finish(start(arguments)); }

  void expect_refused(const Arguments& arguments, const std::string& message) const {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 2) << testing::PrintToString(arguments) << result.error;
    EXPECT_NE(result.error.find(message), std::string::npos) << testing::PrintToString(arguments) << result.error;
  }

  /// `command` with small data and a small network, and what comes on top.
  static Arguments small(const std::string& command, const std::string& out, const Arguments& more = {}) {
    Arguments arguments = {command, command == "search" ? "--start" : "--blocks",
                           "1,1",   "--epochs",
                           "3",     "--synthetic-train",
                           "100",   "--synthetic-test",
                           "20",    "--batch-size",
                           "20",    "--quiet",
                           "--out", out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  /// Waits until the journal of `run` has at least `lines` lines; false when the child ended before.
  bool wait_for_lines(pid_t child, const std::string& run, std::ptrdiff_t lines) const {
    while (true) {
      std::ifstream journal(path(run + "/journal.jsonl"));
      const std::string text((std::istreambuf_iterator<char>(journal)), {});
      if (std::count(text.begin(), text.end(), '\n') >= lines) return true;
      siginfo_t info = {};
      if (waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == child) {
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  std::string model(const std::string& run) const { return read_file(path(run + "/model.safetensors")); }

  /// Takes the normalisation out of the model of `run`.
  void forget_normalisation(const std::string& run) const {
    const std::string file = path(run + "/model.safetensors");
    Safetensors tensors = read_safetensors(file);
    for (const char* name : {"normalisation.scale", "normalisation.offset"}) ASSERT_EQ(tensors.tensors.erase(name), 1U);
    write_safetensors(file, tensors);
  }

  /// Nothing but what a run is made of: no temporary files.
  void expect_tidy(const std::string& run) const {
    const std::vector<std::string> known = {"architecture.json", "checkpoint.safetensors", "config.toml",
                                            "journal.jsonl",     "model.safetensors",      "summary.txt"};
    for (const auto& entry : fs::directory_iterator(path(run))) {
      EXPECT_TRUE(std::count(known.begin(), known.end(), entry.path().filename())) << entry.path();
    }
  }

  TemporaryFolder folder_;
};

TEST_F(Program, SaysHowToUseItself) {
  EXPECT_EQ(run({"--help"}).code, 0);
  const Result help = run({"search", "--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* option : {"--data", "--start", "--criterion", "--max-params", "--resume", "--config"}) {
    EXPECT_NE(help.out.find(option), std::string::npos) << option;
  }
  EXPECT_EQ(run({"devices"}).code, 0);
  EXPECT_EQ(run({}).code, 2);
}

TEST_F(Program, DescribesTheReleasedNetworksAsPublished) {
  const std::vector<std::pair<std::string, std::string>> published = {
      {"6,8,6", "605,610 parameters (602,634 trainable), 92.7 M MACs"},
      {"8,10,6", "652,650 parameters"},
      {"10,12,6", "699,690 parameters"},
      {"10,12,8", "848,426 parameters"},
      {"10,14,8", "885,930 parameters"}};
  const std::vector<std::string> macs = {"92.7 M", "111.6 M", "130.5 M", "139.9 M", "149.3 M"};
  for (std::size_t i = 0; i < published.size(); ++i) {
    const Result result = run({"describe", "--blocks", published[i].first, "--variant", "paper"});
    EXPECT_EQ(result.code, 0);
    EXPECT_NE(result.out.find(published[i].second), std::string::npos) << result.out;
    EXPECT_NE(result.out.find(", " + macs[i] + " MACs\n"), std::string::npos) << result.out;
  }
}

TEST_F(Program, DescribesHowEachConvolutionIsComputedAndWhy) {
  const Result plan = run({"describe", "--blocks", "3,3,3", "--plan", "--device", "cpu"});
  EXPECT_EQ(plan.code, 0) << plan.error;
  for (const char* text :
       {"6 of 32x32x16 to 16 channels, 3x3, stride 1", "winograd", "% of the direct steps",
        "1 of 16x16x32 to 64 channels, 1x1, stride 2", "Winograd is for filters of 3x3", "by weights"}) {
    EXPECT_TRUE(contains(plan.out, text)) << text;
  }
  const Result strict = run({"describe", "--blocks", "3,3,3", "--plan", "--device", "cpu", "--strict-convolution"});
  EXPECT_FALSE(contains(strict.out, "winograd ")) << strict.out;
  EXPECT_TRUE(contains(strict.out, "--strict-convolution"));
  const Result narrow = run({"describe", "--blocks", "1", "--plan", "--device", "cpu", "--precision", "bf16"});
  EXPECT_TRUE(contains(narrow.out, "feature maps in bf16:")) << narrow.error;
  const Result refused = run({"describe", "--blocks", "1", "--plan", "--device", "reference", "--precision", "bf16"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(contains(refused.error, "--precision")) << refused.error;
}

TEST_F(Program, StoresFeatureMapsInBFloat16WhereTheDeviceCan) {
  const Arguments train = {"train", "--blocks",         "1,1,1", "--epochs", "1",          "--synthetic-train",
                           "200",   "--synthetic-test", "100",   "--quiet",  "--precision"};
  const auto with = [&](Arguments more) {
    Arguments all = train;
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  };
  EXPECT_EQ(with({"bf16", "--out", "narrow"}).code, 0);
  EXPECT_TRUE(contains(read_file(path("narrow/config.toml")), "bf16"));
  EXPECT_EQ(with({"fp32", "--out", "wide"}).code, 0);
  EXPECT_NE(read_file(path("narrow/model.safetensors")), read_file(path("wide/model.safetensors")));
  for (const Arguments& wrong : {Arguments{"fp16"}, Arguments{"bf16", "--device", "reference"}}) {
    const Result refused = with(wrong);
    EXPECT_EQ(refused.code, 2);
    EXPECT_TRUE(contains(refused.error, "--precision")) << refused.error;
  }
}

TEST_F(Program, RefusesImpossibleOptionsAndLeavesNothing) {
  for (const std::string blocks : {"0", "-1", "three", "100000000000", "3,,3", "", "1.5", "3,0,3"}) {
    expect_refused({"train", "--out", "x", "--blocks=" + blocks}, "--blocks");
    expect_refused({"describe", "--blocks=" + blocks}, "--blocks");
    expect_refused({"search", "--out", "x", "--start=" + blocks}, "--start");
  }
  expect_refused({"train", "--out", "x", "--frobnicate"}, "--frobnicate");
  const std::vector<std::pair<std::string, std::string>> numbers = {
      {"--epochs", "0"},          {"--epochs", "many"},
      {"--epochs", "1.5"},        {"--batch-size", "0"},
      {"--learning-rate", "nan"}, {"--learning-rate", "inf"},
      {"--learning-rate", "0"},   {"--validation", "0.9"},
      {"--momentum", "1"},        {"--label-smoothing", "1"},
      {"--threads", "-1"},        {"--seed", "-5"},
      {"--image-size", "0"},      {"--synthetic-train", "99999999999999999999"}};
  for (const auto& [flag, value] : numbers) {
    expect_refused({"train", "--out", "x", flag + "=" + value}, flag);
  }
  for (const char* flag : {"--schedule", "--variant", "--device"}) {
    expect_refused({"train", "--out", "x", flag, "nonsense"}, "nonsense");
  }
  for (const char* flag : {"--criterion", "--inherit", "--initialiser", "--max-params"}) {
    expect_refused({"search", "--out", "x", flag, "nonsense"}, "nonsense");
  }
  expect_refused({"train", "--out", "x", "--train-images", "9000"}, "--train-images");
  EXPECT_FALSE(fs::exists(path("x")));
}

TEST_F(Program, RefusesDataThatIsNotThere) {
  fs::create_directories(path("empty"));
  for (const char* data : {"empty", "nowhere"}) {
    expect_refused({"train", "--out", "x", "--data", data}, data);
    EXPECT_FALSE(fs::exists(path("x")));
  }
}

TEST_F(Program, NamesATruncatedCifarFile) {
  fs::create_directories(path("data/cifar-10-batches-bin"));
  for (int i = 1; i <= 5; ++i) {
    std::ofstream(path("data/cifar-10-batches-bin/data_batch_" + std::to_string(i) + ".bin"))
        << std::string(i == 3 ? 3072 : 3073 * 10, '\0');
  }
  std::ofstream(path("data/cifar-10-batches-bin/test_batch.bin")) << std::string(3073 * 10, '\0');
  std::ofstream(path("data/cifar-10-batches-bin/batches.meta.txt")) << "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
  expect_refused({"train", "--out", "x", "--data", "data"}, "data_batch_");
  EXPECT_FALSE(fs::exists(path("x")));
}

TEST_F(Program, NamesAnImageThatCannotBeRead) {
  fs::create_directories(path("photos/train/cat"));
  fs::create_directories(path("photos/train/dog"));
  const std::string ppm = "P6\n8 8\n255\n" + std::string(192, '\x7f');
  for (const char* name : {"cat/1.ppm", "cat/2.ppm", "cat/3.ppm", "dog/1.ppm", "dog/2.ppm", "dog/3.ppm"}) {
    std::ofstream(path(std::string("photos/train/") + name)) << ppm;
  }
  std::ofstream(path("photos/train/dog/broken.png")) << "no image";
  const Arguments train = {"train", "--data",   "photos", "--image-size", "8", "--blocks",
                           "1",     "--epochs", "1",      "--out",        "x", "--quiet"};
  expect_refused(train, "broken.png");
  EXPECT_FALSE(fs::exists(path("x")));

  Arguments skipping = train;
  skipping.push_back("--skip-unreadable");
  ASSERT_EQ(run(skipping).code, 0);
  const Result prediction = run({"predict", "x", "photos/train/cat/1.ppm", "--top", "2"});
  EXPECT_EQ(prediction.code, 0) << prediction.error;
  EXPECT_NE(prediction.out.find("cat "), std::string::npos) << prediction.out;
  EXPECT_NE(prediction.out.find("dog "), std::string::npos) << prediction.out;
  expect_refused({"predict", "x", "photos/train/dog/broken.png"}, "broken.png");
  expect_refused({"evaluate", "x"}, "no test set");
}

TEST_F(Program, EvaluateReadsTheTrainingImagesOnlyForAMissingNormalisation) {
  const std::string ppm = "P6\n8 8\n255\n" + std::string(192, '\x7f');
  for (const char* name :
       {"train/cat/1.ppm", "train/cat/2.ppm", "train/dog/1.ppm", "train/dog/2.ppm", "test/dog/1.ppm"}) {
    folder_.write(std::string("photos/") + name, ppm);
  }
  ASSERT_EQ(run({"train", "--data", "photos", "--image-size", "8", "--blocks", "1", "--epochs", "1", "--validation",
                 "0", "--out", "x", "--quiet"})
                .code,
            0);
  folder_.write("photos/train/cat/1.ppm", "no image any more");
  const Result evaluation = run({"evaluate", "x", "--quiet"});
  EXPECT_EQ(evaluation.code, 0) << evaluation.error;
  EXPECT_NE(evaluation.out.find(" of 1 right"), std::string::npos) << evaluation.out;
  forget_normalisation("x");
  expect_refused({"evaluate", "x"}, "cat/1.ppm");
}

TEST_F(Program, EvaluateFindsOutTheNormalisationThatAFileLacks) {
  for (const char* variant : {"standard", "paper"}) {
    ASSERT_EQ(run(small("train", variant, {"--variant", variant})).code, 0);
    const Result stored = run({"evaluate", variant, "--quiet"});
    ASSERT_EQ(stored.code, 0) << stored.error;
    forget_normalisation(variant);
    EXPECT_EQ(run({"evaluate", variant, "--quiet"}).out, stored.out) << variant;
  }
}

TEST_F(Program, ATestSetThatCannotBeReadShowsAtTheEndAndLosesNothing) {
  const std::string ppm = "P6\n8 8\n255\n" + std::string(192, '\x7f');
  for (const char* name : {"train/cat/1.ppm", "train/cat/2.ppm", "train/dog/1.ppm"}) {
    folder_.write(std::string("photos/") + name, ppm);
  }
  folder_.write("photos/test/cat/broken.ppm", "no image");
  expect_refused({"train", "--data", "photos", "--image-size", "8", "--blocks", "1", "--epochs", "2", "--validation",
                  "0", "--out", "x", "--quiet"},
                 "broken.ppm");
  EXPECT_NE(read_file(path("x/journal.jsonl")).find("\"event\":\"stop\""), std::string::npos);
  folder_.write("photos/test/cat/broken.ppm", ppm);
  EXPECT_EQ(run({"train", "--resume", "x", "--quiet"}).code, 0);
}

TEST_F(Program, RefusesAConfigWithAnUnknownKeyOrABadValue) {
  std::ofstream(path("unknown.toml")) << "epochs = 1\nepoch = 2\n";
  expect_refused({"train", "--out", "x", "--config", "unknown.toml"}, "`epoch`");
  std::ofstream(path("bad.toml")) << "epochs = 0\n";
  expect_refused({"train", "--out", "x", "--config", "bad.toml"}, "epochs");
  std::ofstream(path("broken.toml")) << "# fine\nepochs\n";
  expect_refused({"train", "--out", "x", "--config", "broken.toml"}, "line 2");
  std::ofstream(path("out.toml")) << "out = \"y\"\n";
  expect_refused({"train", "--out", "x", "--config", "out.toml"}, "`out`");
  expect_refused({"train", "--out", "x", "--config", "nowhere.toml"}, "nowhere.toml");
  EXPECT_FALSE(fs::exists(path("x")));
}

TEST_F(Program, RefusesASafetensorsFileThatLies) {
  std::string header = R"({"stem.conv.weight":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,16]}})";
  header.insert(0, std::string{static_cast<char>(header.size()), 0, 0, 0, 0, 0, 0, 0});
  std::ofstream(path("lies.safetensors")) << header << std::string(16, '\0');
  std::ofstream(path("long.safetensors")) << std::string(8, '\x7f') << "{}";
  for (const char* file : {"lies.safetensors", "long.safetensors", "nowhere.safetensors"}) {
    expect_refused({"describe", file}, file);
    expect_refused({"evaluate", file, "--synthetic-train", "20"}, file);
  }
}

TEST_F(Program, SaysWhyThereIsNoCuda) {
  if (cuda_unavailable().empty()) GTEST_SKIP() << "this machine has CUDA";
  expect_refused({"train", "--out", "x", "--device", "cuda"}, cuda_unavailable());
  EXPECT_FALSE(fs::exists(path("x")));
}

TEST_F(Program, ARunsConfigRepeatsItBitForBit) {
  ASSERT_EQ(
      run(small("search", "a", {"--criterion", "random", "--seed", "3", "--flip", "alternating", "--iterations", "1"}))
          .code,
      0);
  const Result again = run({"search", "--config", "a/config.toml", "--out", "b", "--quiet"});
  ASSERT_EQ(again.code, 0) << again.error;
  EXPECT_EQ(model("a"), model("b"));
  EXPECT_EQ(read_file(path("a/config.toml")), read_file(path("b/config.toml")));
  // The command line wins over the file.
  ASSERT_EQ(run({"search", "--config", "a/config.toml", "--seed", "4", "--out", "c", "--quiet"}).code, 0);
  EXPECT_NE(model("a"), model("c"));
}

TEST_F(Program, TheThreadsDoNotChangeTheBits) {
  for (const char* threads : {"1", "2", "3"}) {
    ASSERT_EQ(run(small("search", threads, {"--threads", threads, "--iterations", "1"})).code, 0);
    EXPECT_EQ(model(threads), model("1")) << threads;
  }
}

TEST_F(Program, AFinishedRunSaysHowToUseItAndCanBeUsed) {
  const Result training = run(small("train", "a"));
  ASSERT_EQ(training.code, 0);
  EXPECT_NE(training.out.find("stagewise predict a IMAGE"), std::string::npos);
  EXPECT_NE(training.out.find(read_file(path("a/summary.txt"))), std::string::npos);
  expect_tidy("a");
  const Result evaluation = run({"evaluate", "a", "--quiet"});
  EXPECT_EQ(evaluation.code, 0);
  EXPECT_TRUE(evaluation.out.ends_with("%)\n")) << evaluation.out;
  // The line is the one in the summary: the same data, drawn from the same seed.
  const std::string last = evaluation.out.substr(evaluation.out.find('\n') + 1);
  EXPECT_NE(training.out.find(last), std::string::npos) << last;
  expect_refused(small("train", "a"), "--resume a");
  EXPECT_EQ(run({"train", "--resume", "a"}).out, training.out);
}

TEST_F(Program, KilledAndResumedItEndsWithTheSameBits) {
  const Arguments more = {"--criterion", "uniform", "--iterations", "1"};
  ASSERT_EQ(run(small("search", "whole", more)).code, 0);
  pid_t child = start(small("search", "killed", more));
  for (const std::ptrdiff_t lines : {2, 4, 6, 9, 13}) {  // of 16 lines, or 17
    const bool waiting = wait_for_lines(child, "killed", lines);
    kill(child, SIGKILL);
    EXPECT_EQ(finish(child).code, 128 + SIGKILL);
    ASSERT_TRUE(waiting);
    if (!fs::exists(path("killed/checkpoint.safetensors"))) fs::remove_all(path("killed"));  // it hadn't begun
    child = start(fs::exists(path("killed")) ? Arguments{"search", "--resume", "killed", "--quiet"}
                                             : small("search", "killed", more));
  }
  const Result result = finish(child);
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(model("killed"), model("whole"));
}

TEST_F(Program, CtrlCEndsWith130AndTheRunGoesOn) {
  ASSERT_EQ(run(small("train", "whole", {"--epochs", "8"})).code, 2) << "--epochs twice";
  Arguments arguments = small("train", "whole");
  *(std::find(arguments.begin(), arguments.end(), "--epochs") + 1) = "12";
  ASSERT_EQ(run(arguments).code, 0);
  arguments.back() = "stopped";
  const pid_t child = start(arguments);
  ASSERT_TRUE(wait_for_lines(child, "stopped", 3));
  kill(child, SIGINT);
  const Result stopped = finish(child);
  EXPECT_EQ(stopped.code, 130);
  EXPECT_NE(stopped.error.find("stagewise train --resume stopped"), std::string::npos) << stopped.error;
  EXPECT_FALSE(fs::exists(path("stopped/model.safetensors")));
  expect_refused({"evaluate", "stopped"}, "--resume stopped");
  expect_refused({"train", "--resume", "stopped", "--learning-rate", "0.1"}, "learning-rate");
  ASSERT_EQ(run({"train", "--resume", "stopped", "--threads", "1", "--quiet"}).code, 0);
  EXPECT_EQ(model("stopped"), model("whole"));
  expect_tidy("stopped");
}

TEST_F(Program, AFullDiskLeavesNothingOfARunThatCouldNotBegin) {
  const Result result = finish(start(small("train", "x"), 20'000));
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.error.find("checkpoint.safetensors"), std::string::npos) << result.error;
  EXPECT_FALSE(fs::exists(path("x")));
}

TEST_F(Program, AFullDiskLeavesTheLastCheckpointWhole) {
  ASSERT_EQ(run(small("train", "whole")).code, 0);
  // The first checkpoint holds no momentum yet and fits; the second doesn't.
  const auto full = static_cast<rlim_t>(fs::file_size(path("whole/checkpoint.safetensors")));
  const Result result = finish(start(small("train", "x"), full * 3 / 4));
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.error.find("checkpoint.safetensors"), std::string::npos) << result.error;
  expect_tidy("x");
  ASSERT_EQ(run({"train", "--resume", "x", "--quiet"}).code, 0);
  EXPECT_EQ(model("x"), model("whole"));
}

}  // namespace
}  // namespace stagewise
