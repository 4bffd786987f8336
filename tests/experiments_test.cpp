// The experiments in bench/search/ are asked for in words that the program knows, and what `twins` counts is right.
#include "tests/picture_files.h"
#include "tests/program.h"

namespace stagewise {
namespace {

class Experiments : public Program {
 protected:
  /// A run's folder in `twins/`, as far as the script reads it: one decision about two stages, and the end.
  void write_run(const std::string& name, const std::string& first, const std::string& second,
                 const std::string& blocks) const {
    const auto stage = [](const std::string& verdict) {
      return R"({"new":1,"score":0.1,"lower":0.0,"upper":0.2,"verdict":")" + verdict +
             R"(","stays":true,"reason":"r"})";
    };
    const std::string folder = "twins/" + name + "/seed-1/";
    folder_.write(folder + "journal.jsonl", R"({"event":"decision","round":1,"criterion":"ablation","stages":[)" +
                                                stage(first) + "," + stage(second) + "]}\n" +
                                                R"({"event":"finished","blocks":[)" + blocks + "]}\n");
  }

  /// The script with a program that does nothing in stagewise's place.
  int count_twins() const {
    const std::string command = "cd '" + folder_.path() +
                                "' && '" STAGEWISE_SOURCE_DIR
                                "/bench/search/twins' true --out twins >out.txt 2>error.txt";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

TEST_F(Experiments, EveryFileAsksForRunsThatCouldBegin) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(STAGEWISE_SOURCE_DIR "/bench/search")) {
    if (entry.path().extension() != ".toml") continue;
    ++files;
    // Every run is begun, and then misses its data; a word that no command knows would have been refused before.
    const Result result = run({"sweep", entry.path(), "--out", "runs", "--data", "no-such-data", "--jobs", "4"});
    EXPECT_EQ(result.code, 1) << entry.path() << '\n' << result.error;
    EXPECT_NE(result.error.find("of the runs failed"), std::string::npos) << result.error;
    for (const auto& log : fs::recursive_directory_iterator(path("runs"))) {
      if (log.path().extension() != ".log") continue;
      EXPECT_NE(read_file(log.path()).find("no-such-data"), std::string::npos) << read_file(log.path());
    }
    fs::remove_all(path("runs"));
  }
  EXPECT_GE(files, 6);
}

TEST_F(Experiments, TwinsCountsNetworksAndFindsContradictions) {
  write_run("a", "pays", "toss-up", "2,2");
  write_run("b", "pays", "does not pay", "2,1");
  write_run("c", "pays", "toss-up", "2,2");
  EXPECT_EQ(count_twins(), 0) << folder_.read("error.txt");
  const std::string agreed = folder_.read("out.txt");
  EXPECT_NE(agreed.find("2 2,2\n"), std::string::npos) << agreed;
  EXPECT_NE(agreed.find("round 1, stage 1:  3 x pays\n"), std::string::npos) << agreed;
  EXPECT_NE(agreed.find("round 1, stage 2:  1 x does not pay  2 x toss-up\n"), std::string::npos) << agreed;
  write_run("d", "does not pay", "toss-up", "1,2");
  EXPECT_EQ(count_twins(), 1);
  EXPECT_NE(folder_.read("out.txt").find("1 x does not pay  3 x pays   CONTRADICTION"), std::string::npos)
      << folder_.read("out.txt");
}

TEST_F(Experiments, TransferRunsEveryArmAndComparesThem) {
  std::vector<std::uint8_t> pixels(8 * 8 * 3);
  for (std::uint8_t i = 0; i < 12; ++i) {
    for (const char* const part : {"train/", "test/"}) {
      std::fill(pixels.begin(), pixels.end(), i);
      folder_.write(concat("new/", part, "dark/", i, ".ppm"), picture_files::ppm(8, 8, pixels));
      std::fill(pixels.begin(), pixels.end(), static_cast<std::uint8_t>(200 + i));
      folder_.write(concat("new/", part, "light/", i, ".ppm"), picture_files::ppm(8, 8, pixels));
    }
  }
  const std::string command =
      "cd '" + folder_.path() + "' && '" STAGEWISE_SOURCE_DIR "/bench/search/transfer' '" +
      fs::absolute(STAGEWISE_PROGRAM).string() +
      "' --old synthetic --new new --out out --seeds 1 --synthetic-train 60 --synthetic-test 20 "
      "--work 3e9 --batch-size 8 >out.txt 2>error.txt";
  ASSERT_EQ(std::system(command.c_str()), 0) << folder_.read("error.txt");
  const std::string out = folder_.read("out.txt");
  for (const char* const arm : {"scratch", "found-here", "found-here-anew", "transfer", "frozen", "grown"}) {
    EXPECT_NE(out.find(concat("== out/new/", arm, "/seed-1\n")), std::string::npos) << out;
    EXPECT_TRUE(fs::exists(path(concat("out/new/", arm, "/seed-1/summary.txt")))) << arm;
  }
}

}  // namespace
}  // namespace stagewise
