// `stagewise report` and the page at a run's end, as a person gets them; and the page as a browser sees it.
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "datasets/image_files.h"
#include "search/report/page.h"
#include "tests/program.h"

namespace stagewise {
namespace {

using Json = nlohmann::json;

class ReportProgram : public Program {
 protected:
  std::string page(const std::string& file) const { return read_file(path(file)); }

  /// The data in a page.
  Json data_in(const std::string& file) const {
    const std::string text = page(file), begin = R"(<script type="application/json" id="data">)";
    const std::size_t from = text.find(begin) + begin.size();
    return Json::parse(text.substr(from, text.find("</script>", from) - from));
  }

  Json run_in(const std::string& file) const { return data_in(file).at("runs").at(0); }

  std::string notes_of(const std::string& run) const { return run_in(run + "/report.html").at("notes").dump(); }

  void train(const std::string& out, const Arguments& more = {}) const {
    const Result result = run(small("train", out, more));
    ASSERT_EQ(result.code, 0) << result.error;
  }

  /// Two classes of 16x16 pixels, as PPM files.
  void make_images(const std::string& folder, const std::string& name) const {
    for (const char* part : {"train", "test"}) {
      for (const std::string& label : {std::string("dark"), name}) {
        const fs::path to = fs::path(path(folder)) / part / label;
        fs::create_directories(to);
        for (int i = 0; i < 20; ++i) {
          std::string pixels(16 * 16 * 3, static_cast<char>(label == "dark" ? 20 + i : 200 + i));
          write_file_atomically((to / (std::to_string(i) + ".ppm")).string(), "P6\n16 16\n255\n" + pixels);
        }
      }
    }
  }
};

TEST_F(ReportProgram, ARunEndsWithAPageOfItsOwn) {
  const Result result = run(small("train", "r"));
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_NE(result.out.find("r/report.html"), std::string::npos) << result.out;
  EXPECT_LT(page("r/report.html").size(), 2'000'000U);
  expect_tidy("r");
  const Json told = run_in("r/report.html");
  EXPECT_TRUE(told["notes"].empty()) << told["notes"];
  EXPECT_EQ(told["epochs"].size(), 3U);
  EXPECT_EQ(told["answers"]["all"]["of"], 20);
  EXPECT_EQ(told["answers"]["all"]["count"], told["test_right"]);
  EXPECT_EQ(told["answers"]["classes"].size(), 10U);
  EXPECT_TRUE(told["answers"]["mistakes"].at(0)["picture"].get<std::string>().starts_with("data:image/png;base64,"));
  EXPECT_EQ(told["latency"]["batches"].size(), 2U);
  EXPECT_EQ(told["repeat"]["command"], "stagewise train --config r/config.toml");
}

TEST_F(ReportProgram, SaysTheSameAgainAndOfSeveralSideBySide) {
  train("r");
  const Json at_the_end = run_in("r/report.html");
  ASSERT_EQ(run({"search", "--start", "1,1", "--epochs", "4", "--synthetic-train", "200", "--synthetic-test", "20",
                 "--quiet", "--out", "s"})
                .code,
            0);
  ASSERT_EQ(run({"report", "r/", "s", "--quiet", "--tensorboard"}).code, 0);
  const Json both = data_in("report.html");
  ASSERT_EQ(both["runs"].size(), 2U);
  for (const char* key : {"epochs", "growth", "networks", "repeat", "path", "name"})
    EXPECT_EQ(both["runs"][0][key], at_the_end[key]);
  EXPECT_EQ(both["runs"][0]["answers"]["calibration"], at_the_end["answers"]["calibration"]);
  EXPECT_EQ(both["runs"][1]["name"], "s");
  for (const char* events :
       {"r/tensorboard/events.out.tfevents.stagewise", "s/tensorboard/events.out.tfevents.stagewise"})
    EXPECT_NE(page(events).find("mistakes/01 "), std::string::npos) << events;
}

TEST_F(ReportProgram, TellsWhatItCanOfARunThatIsNotFinished) {
  train("r");
  const std::string journal = page("r/journal.jsonl");
  const std::size_t second_epoch = journal.find("\n", journal.find("\"epoch\":2")) + 1;
  write_file_atomically(path("r/journal.jsonl"),
                        journal.substr(0, second_epoch) + "{\"event\":\"epo");  // as a kill leaves it
  const Result result = run({"report", "r", "--robustness"});
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_NE(notes_of("r").find("isn't finished"), std::string::npos) << notes_of("r");
  const Json told = run_in("r/report.html");
  EXPECT_EQ(told["epochs"].size(), 2U);
  EXPECT_TRUE(told["answers"].is_null() && told["robustness"].is_null());  // the test set stays shut
  EXPECT_EQ(told["latency"]["batches"].size(), 2U);
}

TEST_F(ReportProgram, WithoutItsDataItSaysSoAndShowsTheRest) {
  make_images("photos", "light");
  train("r", {"--data", "photos", "--image-size", "16"});
  EXPECT_TRUE(run_in("r/report.html")["notes"].empty());
  fs::rename(path("photos"), path("elsewhere"));
  ASSERT_EQ(run({"report", "r"}).code, 0);
  EXPECT_NE(notes_of("r").find("test images can't be read any more"), std::string::npos) << notes_of("r");
  const Json told = run_in("r/report.html");
  EXPECT_EQ(told["answers"]["classes"][1]["name"], "light");  // the model knows
  EXPECT_FALSE(told["answers"]["calibration"].is_null());     // the run kept what it takes
  // Found again; but where it isn't the same any more, nothing wrong is shown.
  ASSERT_EQ(run({"report", "r", "--data", "elsewhere"}).code, 0);
  EXPECT_TRUE(run_in("r/report.html")["notes"].empty()) << notes_of("r");
  fs::remove(path("elsewhere/test/dark/0.ppm"));
  ASSERT_EQ(run({"report", "r", "--data", "elsewhere"}).code, 0);
  EXPECT_NE(notes_of("r").find("isn't what it was"), std::string::npos) << notes_of("r");
}

TEST_F(ReportProgram, AnEarlierVersionsAnswersAreAskedForAgain) {
  train("r");
  const Json now = run_in("r/report.html")["answers"];
  std::string earlier;
  std::istringstream lines(page("r/test_predictions.csv"));
  for (std::string line; std::getline(lines, line);) earlier += line.substr(0, line.rfind(',')) + "\n";
  write_file_atomically(path("r/test_predictions.csv"), earlier);
  ASSERT_EQ(run({"report", "r"}).code, 0);
  EXPECT_EQ(run_in("r/report.html")["answers"], now);
  fs::remove(path("r/model.safetensors"));
  ASSERT_EQ(run({"report", "r"}).code, 0);
  EXPECT_NE(notes_of("r").find("kept no confidences"), std::string::npos) << notes_of("r");
  EXPECT_EQ(run_in("r/report.html")["answers"]["all"], now["all"]);
}

TEST_F(ReportProgram, APageThatCannotBeWrittenCostsTheRunNothing) {
  train("r");
  ASSERT_TRUE(fs::remove(path("r/report.html")));
  fs::create_directories(path("r/report.html/in the way"));
  fs::remove(path("r/summary.txt"));
  std::string state = read_file(path("r/checkpoint.safetensors"));  // back to where only the test is left
  state.replace(state.find(R"(\"phase\":\"finished\")"), 22, R"(\"phase\":\"searched\")");
  write_file_atomically(path("r/checkpoint.safetensors"), state);
  const Result result = run({"train", "--resume", "r", "--quiet"});
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_NE(result.error.find("not its report.html"), std::string::npos) << result.error;
  EXPECT_TRUE(fs::exists(path("r/summary.txt")));
}

TEST_F(ReportProgram, ARunThatWasKilledBeforeItsPageGetsItWhenItIsResumed) {
  train("r");
  ASSERT_TRUE(fs::remove(path("r/report.html")));
  const Result result = run({"train", "--resume", "r", "--quiet"});
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_TRUE(contains(read_file(path("r/report.html")), "</html>"));
}

TEST_F(ReportProgram, NamesWhatItCannotReportOn) {
  expect_refused({"report", "nowhere"}, "`nowhere` is no run's folder: there is no journal.jsonl");
  expect_refused({"report"}, "runs is required");
  train("r");
  expect_refused({"report", "r", "--out", "nowhere/page.html"}, "nowhere/page.html");
  write_file_atomically(path("r/journal.jsonl"), "");
  expect_refused({"report", "r"}, "the journal is empty");
}

/// The page in headless Chromium, Debian's `chromium`.
class ReportInABrowser : public ReportProgram {
 protected:
  void SetUp() override {
    if (std::system("command -v chromium >/dev/null 2>&1") == 0) return;
    const char* ci = std::getenv("CI");
    ASSERT_TRUE(ci == nullptr || std::string(ci) != "true") << "CI needs a browser: apt-get install chromium";
    GTEST_SKIP() << "no browser to look at the page with (Debian: apt-get install chromium)";
  }

  void chromium(const std::string& arguments, const std::string& file) const {
    // No name resolves, and time runs on as soon as nothing is left to do.
    const std::string command =
        "timeout 120 chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --no-first-run "
        "--disable-background-networking --host-resolver-rules='MAP * ~NOTFOUND' --virtual-time-budget=5000 "
        "--user-data-dir='" +
        path("profile") + "' " + arguments + " 'file://" + path(file) + "' >'" + path("dom.html") + "' 2>'" +
        path("chromium.txt") + "'";
    ASSERT_EQ(std::system(command.c_str()), 0) << read_file(path("chromium.txt"));
  }

  /// What the page says of itself once it is drawn: report.js writes it.
  Json check(const std::string& file) const {
    chromium("--dump-dom", file);
    const std::string dom = read_file(path("dom.html")), begin = R"(<output id="check" hidden="">)";
    const std::size_t from = dom.find(begin);
    if (from == std::string::npos) {
      return {{"problems", {"no end of the script"}}, {"requests", Json::array()}, {"charts", Json::array()}};
    }
    std::string text = dom.substr(from + begin.size(), dom.find("</output>", from) - from - begin.size());
    for (std::size_t at; (at = text.find("&amp;")) != std::string::npos;) text.replace(at, 5, "&");
    return Json::parse(text);
  }

  /// No script error, nothing refused, nothing asked for, and every chart has marks and something on its canvas.
  std::set<std::string> expect_sound(const std::string& file) const {
    const Json seen = check(file);
    EXPECT_TRUE(seen["problems"].empty()) << seen["problems"];
    EXPECT_TRUE(seen["requests"].empty()) << seen["requests"];
    std::set<std::string> charts;
    for (const Json& chart : seen["charts"]) {
      EXPECT_GT(chart["marks"], 0) << chart;
      EXPECT_TRUE(chart["drawn"].get<bool>()) << chart;
      charts.insert(chart["id"]);
    }
    return charts;
  }

  std::string text_of_dom() const { return read_file(path("dom.html")); }
};

TEST_F(ReportInABrowser, EveryChartOfATrainingAndOfASearchIsDrawn) {
  ASSERT_EQ(run({"train", "--blocks", "1,1", "--epochs", "1", "--synthetic-train", "100", "--synthetic-test", "20",
                 "--quiet", "--out", "r"})
                .code,
            0);
  const std::set<std::string> of_training = {"loss",      "accuracy", "rate",       "size-parameters",
                                             "size-macs", "classes",  "reliability"};
  EXPECT_EQ(expect_sound("r/report.html"), of_training);
  ASSERT_EQ(run({"search", "--strategy", "paper", "--criterion", "r2y", "--iterations", "1", "--start", "1,1",
                 "--epochs", "6", "--synthetic-train", "200", "--synthetic-test", "40", "--quiet", "--out", "s"})
                .code,
            0);
  std::set<std::string> of_search = of_training;
  of_search.insert("scores-0-0");
  EXPECT_EQ(expect_sound("s/report.html"), of_search);
  ASSERT_EQ(run({"report", "r", "s", "--out", "both.html", "--robustness"}).code, 0);
  of_search.erase("scores-0-0");
  of_search.merge(std::set<std::string>{"scores-1-0", "robustness-0", "robustness-1", "robustness-2"});
  EXPECT_EQ(expect_sound("both.html"), of_search);
  const Json both = data_in("both.html");
  for (const Json& one : both["runs"]) {
    const Json& points = one["robustness"]["curves"][0]["points"];
    EXPECT_EQ(points[0]["count"], one["answers"]["all"]["count"]);  // all test images, undisturbed
    EXPECT_TRUE(points[4]["picture"].get<std::string>().starts_with("data:image/png;base64,"));
  }
}

TEST_F(ReportInABrowser, NamesOfClassesAndRunsAreOnlyEverText) {
  const std::string name = "<img src=x onerror=document.title=1><!--<script>";
  make_images("photos", name);
  train("r <b>&amp; 'x'", {"--data", "photos", "--image-size", "16"});
  // A name with a slash is no folder's, but a model's metadata may hold one.
  fs::rename(path("r <b>&amp; 'x'"), path("r"));
  Safetensors model = read_safetensors(path("r/model.safetensors"));
  model.metadata["classes"] = Json{"</script><b>bold", name}.dump();
  write_safetensors(path("r/model.safetensors"), model);
  fs::rename(path("r"), path("r <b>"));
  fs::remove_all(path("photos"));
  ASSERT_EQ(run({"report", "r <b>", "--out", "page.html"}).code, 0);
  EXPECT_EQ(expect_sound("page.html").size(), 7U);
  const std::string dom = text_of_dom();
  EXPECT_NE(dom.find("&lt;/script&gt;&lt;b&gt;bold"), std::string::npos);
  EXPECT_EQ(dom.find("</script><b>bold"), std::string::npos);
  EXPECT_EQ(dom.find("<img src=\"x\""), std::string::npos);
  EXPECT_NE(dom.find("<title>stagewise: r &lt;b&gt;</title>"), std::string::npos);
}

TEST_F(ReportInABrowser, AHundredClassesAreListedByTheirMistakes) {
  train("r");
  Json story = data_in("r/report.html");
  Json& answers = story["runs"][0]["answers"];
  answers["confusions"] = Json::array();
  for (int i = 10; i < 100; ++i) {
    answers["classes"].push_back({{"name", "class " + std::to_string(i)},
                                  {"count", i},
                                  {"of", 100},
                                  {"share", i / 100.0},
                                  {"lower", 0.0},
                                  {"upper", 1.0}});
    answers["confusions"].push_back({i, i - 1, 100 - i});
  }
  write_file_atomically(path("hundred.html"), page_of("a hundred classes", story));
  EXPECT_TRUE(expect_sound("hundred.html").contains("confusions-0"));
  EXPECT_NE(text_of_dom().find("class 99"), std::string::npos);
}

TEST_F(ReportInABrowser, IsLightOrDarkAsTheSystemIs) {
  train("r");
  const auto brightness = [&](const std::string& arguments) {
    chromium("--screenshot='" + path("s.png") + "' --window-size=300,300 " + arguments, "r/report.html");
    const std::vector<std::uint8_t> pixel = read_image(path("s.png"), 300, 300);
    return pixel[0] + pixel[1] + pixel[2];
  };
  EXPECT_GT(brightness("--blink-settings=preferredColorScheme=1"), 700);
  EXPECT_LT(brightness("--blink-settings=preferredColorScheme=0"), 120);
}

}  // namespace
}  // namespace stagewise
