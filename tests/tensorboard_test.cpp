// What --tensorboard writes, as TensorBoard's own reader sees it (tests/referees/).
#include "search/report/tensorboard.h"

#include <ctime>
#include <nlohmann/json.hpp>
#include <sstream>

#include "search/report/event_file.h"
#include "tests/referees.h"

namespace stagewise {
namespace {

using Json = nlohmann::json;

TEST(EventFile, HasTheChecksumsOfRfc3720) {
  // Appendix B.4: 32 bytes of zeros, of ones, rising and falling.
  std::string rising;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43U);
  EXPECT_EQ(crc32c(rising), 0x46DD794EU);
  EXPECT_EQ(crc32c(std::string(rising.rbegin(), rising.rend())), 0x113FDB5CU);
}

class TensorBoardReader : public RefereedProgram {
 protected:
  static constexpr const char* kFile = "/tensorboard/events.out.tfevents.stagewise";

  /// Scalars and images in the event files of `run`.
  Json seen_in(const std::string& run) const {
    const Result judged = judged_by("tensorboard_referee.py", run + "/tensorboard");
    EXPECT_EQ(judged.code, 0) << judged.error;
    return Json::parse(judged.out, nullptr, /*allow_exceptions=*/false);
  }

  std::vector<Json> events(const std::string& run, const std::string& name) const {
    std::vector<Json> found;
    std::istringstream lines(read_file(path(run + "/journal.jsonl")));
    for (std::string line; std::getline(lines, line);) {
      Json event = Json::parse(line);
      if (event["event"] == name) found.push_back(std::move(event));
    }
    return found;
  }

  /// A point an event, in order, each with its figure.
  static void expect_points(const Json& points, const std::vector<Json>& events, const Json::json_pointer& figure) {
    ASSERT_EQ(points.size(), events.size()) << figure;
    for (std::size_t i = 0; i < events.size(); ++i) {
      EXPECT_EQ(points[i][0], i + 1) << figure;
      EXPECT_EQ(points[i][2].get<float>(), events[i].at(figure).get<float>()) << figure;
    }
  }

  void expect_epochs(const Json& seen, const std::string& run) const {
    const std::vector<Json> epochs = events(run, "epoch");
    ASSERT_FALSE(epochs.empty());
    for (const auto& [tag, figure] : {std::pair("loss/training", "/loss"),
                                      {"accuracy/training", "/accuracy"},
                                      {"training/learning rate", "/rate"},
                                      {"training/multiply-accumulates", "/work"},
                                      {"blocks/stage 2", "/blocks/1"}}) {
      expect_points(seen["scalars"][tag], epochs, Json::json_pointer(figure));
    }
  }
};

TEST_F(TensorBoardReader, FindsScalarsScoresAndThePicturesOfMistakes) {
  const Result result =
      run({"search", "--strategy", "paper", "--criterion", "r2y", "--iterations", "1", "--start", "1,1", "--epochs",
           "6", "--synthetic-train", "200", "--synthetic-test", "40", "--quiet", "--tensorboard", "--out", "s"});
  ASSERT_EQ(result.code, 0) << result.error;
  const Json seen = seen_in("s"), &scalars = seen["scalars"];
  expect_epochs(seen, "s");
  ASSERT_GE(events("s", "score").size(), 2U);
  expect_points(scalars["score/stage 2"], events("s", "score"), "/scores/1"_json_pointer);
  expect_points(scalars["score/stage 2, standard error"], events("s", "score"), "/errors/1"_json_pointer);
  expect_points(scalars["rise/stage 1"], events("s", "decision"), "/stages/0/rise"_json_pointer);
  const Json finished = events("s", "finished").at(0);
  const std::int64_t epochs = std::ssize(events("s", "epoch"));
  ASSERT_EQ(scalars["accuracy/test"].size(), 1U);
  EXPECT_EQ(scalars["accuracy/test"][0][0], epochs);
  EXPECT_EQ(scalars["accuracy/test"][0][2].get<float>(), finished["test_accuracy"].get<float>());
  // Times are those of the run, from its beginning on.
  const Json &loss = scalars["loss/training"], first = events("s", "epoch").at(0);
  EXPECT_NEAR(loss.back()[1].get<double>() - loss[0][1].get<double>(),
              events("s", "epoch").back()["seconds"].get<double>() - first["seconds"].get<double>(), 1e-3);
  EXPECT_NEAR(loss[0][1].get<double>(), static_cast<double>(std::time(nullptr)), 600.0);
  // The surest mistakes, the page's own order.
  const auto wrong = static_cast<std::size_t>(40 - finished["test_right"].get<int>());
  ASSERT_EQ(seen["images"].size(), std::min<std::size_t>(wrong, 24));
  EXPECT_TRUE(seen["images"].begin().key().starts_with("mistakes/01 "));
  for (const Json& image : seen["images"]) EXPECT_EQ(image, (Json{epochs, 32, 32}));
}

TEST_F(TensorBoardReader, ARunThatWasKilledHasEveryStepOnceWhenItIsDone) {
  const pid_t child = start({"train", "--blocks", "1,1", "--epochs", "8", "--synthetic-train", "200",
                             "--synthetic-test", "20", "--batch-size", "20", "--quiet", "--tensorboard", "--out", "r"});
  ASSERT_TRUE(wait_for_lines(child, "r", 3));
  kill(child, SIGKILL);
  EXPECT_EQ(finish(child).code, 128 + SIGKILL);
  expect_refused({"report", "r", "--tensorboard"}, "`r` isn't finished: go on with it by --resume r --tensorboard");
  // As a kill may leave it: a step that the journal is cut back behind, and half of a record.
  const std::string file = path("r") + kFile, ahead = scalar_event(0, 5, "loss/training", 1.0);
  write_file_atomically(file, read_file(file) + ahead + ahead.substr(0, 20));
  const Result result = run({"train", "--resume", "r", "--quiet"});
  ASSERT_EQ(result.code, 0) << result.error;
  const Json seen = seen_in("r");
  EXPECT_EQ(seen["scalars"]["loss/training"].size(), 8U);
  expect_epochs(seen, "r");
  // Bit by bit or at once, it is the same file, but for the pictures behind the rest.
  const std::string bytes = read_file(file);
  TensorBoard(path("r"));
  const std::string anew = read_file(file);
  EXPECT_GT(anew.size(), 8 * 7 * 40U);
  EXPECT_TRUE(bytes.starts_with(anew));
}

}  // namespace
}  // namespace stagewise
