// The program as a person runs it: exit codes, messages, and what it leaves. What others do to it while it runs is in
// processes_test.cpp.
#include "tests/program.h"

#include <cstdlib>
#include <cstring>
#include <limits>

#include "cuda/cuda_backend.h"

namespace stagewise {
namespace {

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
      {"--epochs", "1.5"},        {"--batch-size", "-1"},
      {"--learning-rate", "nan"}, {"--learning-rate", "inf"},
      {"--learning-rate", "-1"},  {"--validation", "0.9"},
      {"--work", "1000"},         {"--decay", "1.5"},
      {"--momentum", "1"},        {"--label-smoothing", "1"},
      {"--threads", "-1"},        {"--seed", "-5"},
      {"--image-size", "0"},      {"--synthetic-train", "99999999999999999999"}};
  for (const auto& [flag, value] : numbers) {
    expect_refused({"train", "--out", "x", flag + "=" + value}, flag);
  }
  for (const char* flag : {"--schedule", "--variant", "--device"}) {
    expect_refused({"train", "--out", "x", flag, "nonsense"}, "nonsense");
  }
  for (const char* flag : {"--criterion", "--strategy", "--initialiser", "--max-params", "--grow-to"}) {
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
  const Result among_others = run(
      {"predict", "x", "photos/train/cat/1.ppm", "photos/train/dog/broken.png", "gone.png", "photos/train/dog/1.ppm"});
  EXPECT_EQ(among_others.code, 2);
  for (const char* part : {"broken.png", "gone.png", "2 of 4"}) EXPECT_TRUE(contains(among_others.error, part));
  for (const char* part : {"cat/1.ppm: ", "dog/1.ppm: "}) EXPECT_TRUE(contains(among_others.out, part));
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

TEST_F(Program, NumbersAreDecimalAndSpelledInOneWay) {
  ASSERT_EQ(run(small("train", "a",
                      {"--seed", "08", "--learning-rate", ".05", "--weight-decay", "5e-4", "--warm-up", "+.50",
                       "--crop-padding", "010"}))
                .code,
            0);
  const std::string config = read_file(path("a/config.toml"));
  for (const char* line : {"seed = 8\n", "learning-rate = 0.05\n", "weight-decay = 0.0005\n", "warm-up = 0.5\n",
                           "crop-padding = 10\n", "blocks = \"1,1\"\n"}) {
    EXPECT_TRUE(contains(config, line));
  }
  EXPECT_EQ(run({"train", "--resume", "a", "--learning-rate", "0.050", "--seed", "8"}).code, 0) << "the same numbers";
  expect_refused({"train", "--resume", "a", "--learning-rate", ".051"}, "learning-rate");
  for (const char* number : {"0x10", "1_000", "1e2", "++1", "+-1", "1 ", "", "10k"}) {
    expect_refused({"train", "--out", "x", std::string("--epochs=") + number}, "--epochs");
  }
  for (const char* amount : {"0x10", "k", "1kM", "-1", "nan", "1e19", "1.5.2M", "M1"}) {
    expect_refused({"search", "--out", "x", std::string("--max-params=") + amount}, "max-params");
  }
  expect_refused({"train", "--out", "x", "--data", "\xff\xfe"}, "UTF-8");
  EXPECT_FALSE(fs::exists(path("x")));
}

TEST_F(Program, ReadsConfigsAsTomlDoes) {
  folder_.write("a.toml",
                "# TOML, as a person writes it\n"
                "epochs = 0x1 # not that many\n\"synthetic-train\" = 1_00\nsynthetic-test = +20\nblocks = [1, 1]\n"
                "learning-rate = 5e-2\nflip = \"none\"\nbatch-size = 20\nschedule = \"cos\\u0069ne\"\n"
                "any-device = \"off\"\nstrict-convolution = \"y\"\nweight-decay = -0e-1\n");
  const Result result = run({"train", "--config", "a.toml", "--out", "a", "--quiet"});
  ASSERT_EQ(result.code, 0) << result.error;
  const std::string config = read_file(path("a/config.toml"));
  for (const char* line : {"epochs = 1\n", "synthetic-train = 100\n", "synthetic-test = 20\n", "blocks = \"1,1\"\n",
                           "learning-rate = 0.05\n", "flip = \"none\"\n", "schedule = \"cosine\"\n",
                           "any-device = false\n", "strict-convolution = true\n", "weight-decay = 0\n"}) {
    EXPECT_TRUE(contains(config, line));
  }
  for (const char* wrong : {"epochs = 007\n", "learning-rate = .05\n", "epochs = [1, 2]\n", "blocks = []\n",
                            "[epochs]\na = 1\n", "epochs = 1\nepochs = 2\n", "data = no quotes\n",
                            "epochs = 1979-05-27\n", "epochs = nan\n", "seed = -1\n", "epochs = \"1\"x\n"}) {
    folder_.write("wrong.toml", wrong);
    expect_refused({"train", "--config", "wrong.toml", "--out", "x"}, "wrong.toml");
  }
  EXPECT_FALSE(fs::exists(path("x")));
}

TEST_F(Program, WhatItWritesIsTomlForOthersToo) {
  if (std::system("python3 -c 'import tomllib' 2>/dev/null") != 0) GTEST_SKIP() << "no python3 with tomllib";
  const std::string odd = "odd \" \\ \t\n 'name' \x7f \xC3\xA9";
  const std::string ppm = "P6\n8 8\n255\n" + std::string(192, '\x7f');
  for (const char* name : {"/train/cat/1.ppm", "/train/cat/2.ppm", "/train/dog/1.ppm", "/train/dog/2.ppm"}) {
    folder_.write(odd + name, ppm);
  }
  ASSERT_EQ(run({"search",
                 "--data",
                 odd,
                 "--image-size",
                 "8",
                 "--start",
                 "1",
                 "--strategy",
                 "paper",
                 "--iterations",
                 "1",
                 "--epochs",
                 "3",
                 "--criterion",
                 "uniform",
                 "--max-params",
                 "1M",
                 "--learning-rate",
                 ".05",
                 "--seed",
                 "007",
                 "--keep-held-out",
                 "--batch-size",
                 "2",
                 "--out",
                 "x",
                 "--validation",
                 "0",
                 "--quiet"})
                .code,
            0);
  folder_.write(
      "check.py",
      "import sys, tomllib\n"
      "config = tomllib.load(open(sys.argv[1], 'rb'))\n"
      "expected = {'seed': 7, 'learning-rate': 0.05, 'max-params': 1000000, 'keep-held-out': True, 'start': '1',\n"
      "            'data': sys.argv[2], 'strict-convolution': False, 'momentum': 0.9}\n"
      "for key, value in expected.items():\n"
      "    assert config[key] == value and type(config[key]) is type(value), (key, config[key])\n");
  folder_.write("data", fs::weakly_canonical(path(odd)).string());
  EXPECT_EQ(std::system(("cd '" + folder_.path() + "' && python3 check.py x/config.toml \"$(cat data)\"").c_str()), 0);
  EXPECT_EQ(run({"search", "--resume", "x"}).code, 0);
}

TEST_F(Program, RefusesWeightsThatAreNotNumbers) {
  folder_.write("a.ppm", "P6\n8 8\n255\n" + std::string(192, '\x7f'));
  const pid_t child = start(small("train", "stopped", {"--validation", "0.1"}));
  ASSERT_TRUE(wait_for_lines(child, "stopped", 2));
  kill(child, SIGKILL);
  finish(child);
  ASSERT_EQ(run(small("train", "done")).code, 0);
  const float nothing = std::numeric_limits<float>::quiet_NaN();
  for (const char* name : {"done/model.safetensors", "stopped/checkpoint.safetensors"}) {
    Safetensors file = read_safetensors(path(name));
    std::memcpy(file.tensors.at("classifier.bias").bytes.data(), &nothing, sizeof nothing);
    write_safetensors(path(name), file);
  }
  for (const Arguments& arguments :
       {Arguments{"evaluate", "done"}, {"predict", "done", "a.ppm"}, {"train", "--resume", "stopped"}}) {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 2);
    for (const char* part : {"`classifier.bias`", "nan", ".safetensors`"}) EXPECT_TRUE(contains(result.error, part));
  }
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
      run(small("search", "a", {"--grow-to", "2,2", "--criterion", "random", "--seed", "3", "--flip", "alternating"}))
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
    ASSERT_EQ(run(small("search", threads, {"--threads", threads, "--grow-to", "2,1"})).code, 0);
    EXPECT_EQ(model(threads), model("1")) << threads;
  }
}

TEST_F(Program, AFinishedRunSaysHowToUseItAndCanBeUsed) {
  const Result training = run(small("train", "a"));
  ASSERT_EQ(training.code, 0);
  EXPECT_NE(training.out.find("stagewise predict a IMAGE"), std::string::npos);
  EXPECT_NE(training.out.find("stagewise export a --to onnx"), std::string::npos);
  EXPECT_NE(training.out.find(read_file(path("a/summary.txt"))), std::string::npos);
  expect_tidy("a");
  const Result evaluation = run({"evaluate", "a", "--quiet"});
  EXPECT_EQ(evaluation.code, 0);
  EXPECT_TRUE(evaluation.out.ends_with("%)\n")) << evaluation.out;
  // The line is the one in the summary: the same data, drawn from the same seed.
  const std::size_t begin = evaluation.out.find('\n') + 1;
  const std::string last = evaluation.out.substr(begin, evaluation.out.find(" (", begin) - begin);
  EXPECT_NE(training.out.find(last), std::string::npos) << last;
  expect_refused(small("train", "a"), "--resume a");
  EXPECT_EQ(run({"train", "--resume", "a"}).out, training.out);
}

TEST_F(Program, DescribesEveryNodeOfTheGraph) {
  const Result result = run({"describe", "--blocks", "2,1", "--graph"});
  EXPECT_EQ(result.code, 0) << result.error;
  for (const char* const part :
       {"stem", "32x32x16", "3x3 conv 3 to 16, batch norm, relu", "stages.0.blocks.1", "stages.1.blocks.0",
        "(3x3 conv 16 to 32, stride 2, batch norm, relu; 3x3 conv 32 to 32, batch norm) + (1x1 conv 16 to 32, stride "
        "2, "
        "batch norm), relu",
        "mean over all pixels", "linear 32 to 10"}) {
    EXPECT_TRUE(contains(result.out, part)) << part << "\n" << result.out;
  }
}

TEST_F(Program, TrainsWithAdamW) {
  const Result result = run(small("train", "a", {"--optimiser", "adamw"}));
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_TRUE(contains(read_file(path("a/config.toml")), "optimiser = \"adamw\"\n"));
  EXPECT_TRUE(contains(read_file(path("a/journal.jsonl")), "\"optimiser\":\"adamw\",\"learning_rate\":0.000625"));
  ASSERT_EQ(run(small("train", "b", {"--optimiser", "sgd"})).code, 0);
  EXPECT_NE(model("a"), model("b"));
  expect_refused(small("train", "c", {"--optimiser", "adam"}), "expected sgd or adamw, got \"adam\"");
  EXPECT_FALSE(fs::exists(path("c"))) << "nothing half-begun stays";
}

}  // namespace
}  // namespace stagewise
