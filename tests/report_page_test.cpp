// What a report's page is made of: the story of a journal, figures about answers, pictures, and data within HTML.
#include <gtest/gtest.h>

#include <fstream>

#include "datasets/image_files.h"
#include "search/report/page.h"
#include "search/report/picture_file.h"
#include "search/report/quality.h"
#include "search/report/run_story.h"
#include "search/run/energy.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

using Json = nlohmann::json;

TEST(Share, HasWilsonsInterval) {
  // Newcombe (1998), Statistics in Medicine 17, table I, method 3.
  struct Case {
    std::int64_t count, of;
    double lower, upper;
  };
  for (const auto& [count, of, lower, upper] : {Case{81, 263, 0.2553, 0.3662}, Case{15, 148, 0.0624, 0.1605},
                                                Case{0, 20, 0.0, 0.1611}, Case{1, 29, 0.0061, 0.1718}}) {
    const Share share = share_of(count, of);
    EXPECT_NEAR(share.lower, lower, 5e-5) << count;
    EXPECT_NEAR(share.upper, upper, 5e-5) << count;
  }
  EXPECT_EQ(share_of(0, 0).upper, 1.0);
}

const Predictions kFive{.labels = {0, 0, 1, 1, 2},
                        .predicted = {0, 1, 1, 0, 0},
                        .label_probability = {},
                        .loss = {},
                        .confidence = {0.9F, 0.8F, 0.6F, 1.0F, 0.3F}};

TEST(Answers, AreCountedByClassAndByWhatIsTakenForWhat) {
  const std::vector<Share> shares = share_by_class(kFive, 3);
  EXPECT_EQ(shares[0].count, 1);
  EXPECT_EQ(shares[0].of, 2);
  EXPECT_EQ(shares[2].count, 0);
  EXPECT_EQ(shares[2].of, 1);
  EXPECT_THROW(share_by_class(kFive, 2), Error);
  const std::vector<Confusion> wrong = confusions(kFive);
  ASSERT_EQ(wrong.size(), 3U);
  EXPECT_EQ(wrong[0].label, 0);
  EXPECT_EQ(wrong[0].predicted, 1);
  EXPECT_EQ(surest_mistakes(kFive, 2), (std::vector<std::size_t>{3, 1}));
}

TEST(Answers, TheCalibrationErrorIsTheMeanDistanceOverTheBins) {
  // In two bins, by hand. Below 0.5: one image, 30% sure and wrong. Above: 0.9, 0.8, 0.6 and 1.0, two of the four right.
  const Reliability two = reliability_of(kFive, 2);
  EXPECT_EQ(two.bins[1].right.of, 4);
  EXPECT_NEAR(two.bins[1].confidence, 0.825, 1e-6);
  EXPECT_NEAR(two.expected_error, 0.2 * 0.3 + 0.8 * (0.825 - 0.5), 1e-6);
  EXPECT_NEAR(two.mean_confidence, 0.72, 1e-6);
  EXPECT_EQ(reliability_of(kFive).bins.back().right.of, 1);  // 100% belongs to the last bin
  Predictions without = kFive;
  without.confidence.clear();
  EXPECT_THROW(reliability_of(without), Error);
}

TEST(PictureFile, Base64HasTheVectorsOfRfc4648) {
  const std::vector<std::pair<std::string, std::string>> vectors = {{"", ""},
                                                                    {"f", "Zg=="},
                                                                    {"fo", "Zm8="},
                                                                    {"foo", "Zm9v"},
                                                                    {"foob", "Zm9vYg=="},
                                                                    {"fooba", "Zm9vYmE="},
                                                                    {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) EXPECT_EQ(base64(bytes), text);
  EXPECT_EQ(base64("\xFF\xFE\xFD"), "//79");
}

Images two_images(std::int64_t side) {
  Images images{.height = side, .width = side, .channels = 3, .pixels = {}, .labels = {0, 1}};
  for (std::int64_t i = 0; i < 2 * images.image_bytes(); ++i)
    images.pixels.push_back(static_cast<std::uint8_t>(i * 7 % 251));
  return images;
}

TEST(PictureFile, APngHoldsEveryPixel) {
  const TemporaryFolder folder;
  const Images images = two_images(9);
  folder.write("p.png", png_of(images, 1));
  const std::vector<std::uint8_t> back = read_image(folder.path("p.png"), 9, 9);
  EXPECT_EQ(back, std::vector<std::uint8_t>(images.pixels.begin() + images.image_bytes(), images.pixels.end()));
}

TEST(PictureFile, LargeOnesAreShrunkJpegs) {
  EXPECT_TRUE(data_uri_of(two_images(64), 0).starts_with("data:image/png;base64,iVBORw0KGgo"));
  const std::string large = data_uri_of(two_images(512), 0);
  EXPECT_TRUE(large.starts_with("data:image/jpeg;base64,/9j/"));
  EXPECT_LT(large.size(), 60'000U);
}

TEST(Page, WhateverATextIsItIsNoHtml) {
  const std::string text = "</script><b>\"'&amp; <!--<script> ]]> \xE2\x80\xA8 \\u003c";
  const nlohmann::ordered_json data = {{text, text}};
  const std::string embedded = json_for_html(data);
  EXPECT_EQ(embedded.find_first_of("<>&"), std::string::npos) << embedded;
  EXPECT_EQ(nlohmann::ordered_json::parse(embedded), data);
  EXPECT_NE(json_for_html({{"name", "\xFF"}}).find("\xEF\xBF\xBD"), std::string::npos);  // no UTF-8: U+FFFD

  const std::string page = page_of("</title><b>", {{"name", "@SCRIPT@ </script><b>"}});
  EXPECT_NE(page.find("<title>&lt;/title&gt;&lt;b&gt;</title>"), std::string::npos);
  EXPECT_EQ(page.find("</script><b>"), std::string::npos);
  EXPECT_NE(page.find("@SCRIPT@ \\u003c"), std::string::npos);  // what is put in is not filled in itself
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
}

TEST(Page, NamesNoAddressToLoadFrom) {
  for (const PageFile& file : {kPageHtml, kPageCss, kPageJs, kPageChartsJs}) {
    for (const char* address :
         {"http:", "https:", "//cdn", "url(", "@import", "fetch(", "XMLHttpRequest", "src=", "href="}) {
      EXPECT_EQ(file.text.find(address), std::string::npos) << address;
    }
  }
  EXPECT_EQ(kChartJs.text.find("sourceMappingURL"), std::string::npos);
}

constexpr const char* kData = "CIFAR-10, 50,000 training images, 10 classes, 32x32";

Json start_of(const std::string& strategy, const std::vector<std::int64_t>& blocks) {
  return {{"event", "start"},      {"data", kData},    {"strategy", strategy},
          {"variant", "standard"}, {"blocks", blocks}, {"work", 1e12}};
}

TEST(RunStory, TellsHowATrialEnded) {
  const Json trial = {
      {"event", "decision"},
      {"round", 1},
      {"criterion", "ablation"},
      {"margin", 0.005},
      {"work", 5e11},
      {"blocks_after", {3, 1}},
      {"stages",
       {{{"new", 2}, {"score", 0.02}, {"lower", 0.01}, {"upper", 0.03}, {"stays", true}, {"reason", "they stay"}},
        {{"new", 1},
         {"score", 0.001},
         {"lower", 0.0},
         {"upper", 0.002},
         {"stays", false},
         {"reason", "it is taken out"}}}}};
  const auto story = run_story(
      {start_of("stagewise", {1, 1}),
       {{"event", "epoch"}, {"epoch", 1}, {"blocks", {1, 1}}, {"work", 1e11}, {"loss", 2.0}, {"accuracy", 0.25}},
       {{"event", "insertion"}, {"round", 1}, {"work", 2e11}, {"blocks", {3, 2}}, {"new", {{1, 2}, {1}}}},
       trial,
       {{"event", "finished"}, {"blocks", {3, 1}}, {"work", 1e12}, {"test_accuracy", 0.875}, {"macs", 42}}});
  const auto& growth = story["growth"];
  ASSERT_EQ(growth.size(), 3U);
  EXPECT_EQ(growth[0]["stages"][0]["maps"], "32x32x16");
  EXPECT_EQ(growth[1]["stages"][0]["kept"], 1);
  EXPECT_EQ(growth[1]["stages"][0]["fresh"], 2);
  EXPECT_EQ(growth[2]["stages"][0]["kept"], 3);
  EXPECT_EQ(growth[2]["stages"][1]["out"], 1);
  EXPECT_EQ(growth[2]["label"], "round 1: 1 of the 3 new blocks are taken out");
  EXPECT_EQ(story["decisions"][0]["title"], "Round 1: 3,2 on trial, then 3,1");
  EXPECT_EQ(story["decisions"][0]["stages"][1]["reason"], "it is taken out");
  ASSERT_EQ(story["networks"].size(), 2U);  // the start, as it was trained, and the one that was tested
  EXPECT_EQ(story["networks"][0]["measured_on"], "training");
  EXPECT_EQ(story["networks"][1]["measured_on"], "test");
  EXPECT_EQ(story["networks"][1]["macs"], 42);  // what the run says of itself counts
  EXPECT_TRUE(story["finished"]);
}

TEST(RunStory, TellsWhatBecameOfTheWeightsWhenBlocksCame) {
  const auto label = [](const Json& shrink) {
    Json insertion = {{"event", "insertion"}, {"round", 1}, {"work", 2e11}, {"blocks", {3, 2}}};
    if (!shrink.is_null()) insertion["shrink"] = shrink;
    return run_story({start_of("stagewise", {1, 1}), insertion})["growth"][1]["label"].get<std::string>();
  };
  EXPECT_EQ(label({}), "round 1: new blocks") << "the journal of an earlier version, which kept them";
  EXPECT_EQ(label(1.0), "round 1: new blocks");
  EXPECT_EQ(label(0.5), "round 1: new blocks, 50.00% of every weight kept");
  EXPECT_EQ(label(0.0), "round 1: new blocks, all weights drawn anew");
}

TEST(RunStory, ARiseHasTheErrorsOfBothScores) {
  const auto score = [](const std::vector<std::int64_t>& blocks, double value, double error) {
    return Json{{"event", "score"},  {"blocks", blocks},  {"criterion", "r2y"},
                {"scores", {value}}, {"errors", {error}}, {"validation_accuracy", 0.5}};
  };
  const auto story =
      run_story({start_of("paper", {1}),
                 score({1}, 0.2, 0.03),
                 score({2}, 0.3, 0.04),
                 {{"event", "decision"},
                  {"round", 1},
                  {"criterion", "r2y"},
                  {"margin", 0.0},
                  {"blocks_before", {1}},
                  {"blocks_after", {2}},
                  {"stages", {{{"before", 0.2}, {"deeper", 0.3}, {"rise", 0.1}, {"reason", "grows by 1"}}}}}});
  const auto& stage = story["decisions"][0]["stages"][0];
  EXPECT_NEAR(stage["lower"].get<double>(), 0.1 - 1.96 * 0.05, 1e-9);
  EXPECT_NEAR(stage["upper"].get<double>(), 0.1 + 1.96 * 0.05, 1e-9);
  EXPECT_EQ(story["networks"].size(), 2U);
  EXPECT_FALSE(story["finished"]);
}

TEST(RunStory, OfManyEpochsSomeAreShownAndTheLast) {
  std::vector<Json> events = {start_of("train", {1})};
  for (int epoch = 1; epoch <= 1234; ++epoch) {
    events.push_back({{"event", "epoch"},
                      {"epoch", epoch},
                      {"blocks", {1}},
                      {"work", epoch * 1e9},
                      {"loss", 1.0},
                      {"accuracy", 0.5}});
  }
  const auto story = run_story(events);
  EXPECT_EQ(story["epochs"].size(), 500U);
  EXPECT_EQ(story["epochs"].back()["epoch"], 1234);
}

TEST(RunStory, OfARunThatHasHardlyBegunOrSaysLittle) {
  EXPECT_THROW(run_story({}), Error);
  EXPECT_EQ(run_story({start_of("train", {2, 2})})["network"]["blocks"], "2,2");
  const auto old = run_story({{{"event", "start"}, {"blocks", {2, 2}}}, {{"event", "finished"}, {"blocks", {2, 2}}}});
  EXPECT_FALSE(old["network"].contains("macs"));  // nobody says of which images
  EXPECT_THROW(run_story({{{"event", "start"}, {"blocks", "2,2"}}}), Error);
}

TEST(KnownNetworks, HaveThePublishedCosts) {
  std::map<std::string, Json> named;
  for (const auto& network : known_networks()) named[network["name"]] = network;
  EXPECT_EQ(named.size(), 10U);
  // He et al. (2016), table 6, in millions; ours have projections where theirs pad with zeros.
  EXPECT_NEAR(named["ResNet-20"]["parameters"].get<double>() / 1e6, 0.27, 0.01);
  EXPECT_NEAR(named["ResNet-56"]["parameters"].get<double>() / 1e6, 0.85, 0.015);
  EXPECT_NEAR(named["ResNet-110"]["parameters"].get<double>() / 1e6, 1.7, 0.05);
  EXPECT_EQ(named["iteration 1"]["parameters"], 605'610);  // the paper's released files
  EXPECT_EQ(named["iteration 5"]["parameters"], 885'930);
  EXPECT_NEAR(named["iteration 5"]["macs"].get<double>() / 1e6, 149.3, 0.05);
}

TEST(Energy, IsTheSumOfThePackagesAndGoesOnWhenACounterBeginsAnew) {
  const TemporaryFolder folder;
  const auto set = [&](const std::string& domain, const std::string& microjoules) {
    folder.write(domain + "/energy_uj", microjoules + "\n");
    folder.write(domain + "/max_energy_range_uj", "10000000\n");
  };
  set("intel-rapl:0", "1000000");
  set("intel-rapl:1", "9000000");
  set("intel-rapl:0:0", "500000");      // the cores of package 0: in it already
  set("intel-rapl-mmio:0", "1000000");  // package 0 by another way
  EnergyMeter meter(/*card=*/false, folder.path());
  EXPECT_EQ(meter.source(), "RAPL");
  set("intel-rapl:0", "3000000");
  set("intel-rapl:1", "1000000");
  set("intel-rapl:0:0", "2500000");
  EXPECT_NEAR(meter.take().value(), 2.0 + 2.0, 1e-9);
  EXPECT_NEAR(meter.take().value(), 0.0, 1e-9);
  EXPECT_FALSE(EnergyMeter(false, folder.path("nowhere")).take().has_value());
}

}  // namespace
}  // namespace stagewise
