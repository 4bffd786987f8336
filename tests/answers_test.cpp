// What a network says of single images: the formats, and how sure it may be.
#include "search/report/answers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "search/training/temperature.h"
#include "tensor/random.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

const std::vector<std::string> kClasses = {"ant", "bee, honey", "caf\xE9 \"x\""};
const std::vector<double> kProbabilities = {0.25F, 0.625F, 0.125F};

TEST(Answers, AreALineAnImageInEachFormat) {
  const Answers text(AnswerFormat::text, kClasses, {});
  EXPECT_EQ(text.header(), "");
  EXPECT_EQ(text.line("a b.png", kProbabilities), "a b.png: bee, honey 62.50%, ant 25.00%, caf\\xE9 \"x\" 12.50%\n");
  EXPECT_EQ(Answers(AnswerFormat::text, kClasses, 1).line("a\n.png", kProbabilities),
            "a\\x0A.png: bee, honey 62.50%\n");

  const Answers csv(AnswerFormat::csv, kClasses, {});
  EXPECT_EQ(csv.header(), "file,class,probability\n");
  EXPECT_EQ(csv.line("a,\"b\".png", kProbabilities), "\"a,\"\"b\"\".png\",\"bee, honey\",0.625\n");
  const Answers all(AnswerFormat::csv, kClasses, 9);
  EXPECT_EQ(all.header(), "file,class,probability,class_2,probability_2,class_3,probability_3\n");
  EXPECT_EQ(all.line("x", kProbabilities), "x,\"bee, honey\",0.625,ant,0.25,\"caf\xE9 \"\"x\"\"\",0.125\n");
}

TEST(Answers, AsJsonHaveEveryClassByName) {
  const std::string line = Answers(AnswerFormat::jsonl, kClasses, {}).line("q\"\xFF.png", {kProbabilities});
  EXPECT_EQ(line.back(), '\n');
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const nlohmann::json answer = nlohmann::json::parse(line);
  EXPECT_EQ(answer.at("file"), "q\"\\xFF.png");
  EXPECT_EQ(answer.at("class"), "bee, honey");
  EXPECT_EQ(answer.at("probabilities").size(), 3U);
  EXPECT_EQ(answer.at("probabilities").at("ant"), 0.25);
  const auto few = nlohmann::json::parse(Answers(AnswerFormat::jsonl, kClasses, 2).line("x", kProbabilities));
  EXPECT_EQ(few.at("probabilities").size(), 2U);
  EXPECT_FALSE(few.at("probabilities").contains("caf\\xE9 \"x\""));
}

TEST(Answers, OfEqualProbabilitiesTheFirstClassCounts) {
  const std::vector<double> equal(3, 1.0 / 3.0);
  EXPECT_EQ(Answers(AnswerFormat::csv, kClasses, {}).line("x", equal), "x,ant,0.33333334\n");
}

TEST(Answers, AnUnknownFormatIsRefused) {
  EXPECT_TRUE(contains(message_of([] { answer_format_from("xml"); }), "expected text, csv or jsonl, got \"xml\""));
}

/// With labels drawn from softmax(z), logits of s z are s times too sure (or too modest): the temperature is s.
TEST(Temperature, IsTheFactorThatTheLogitsAreOffBy) {
  constexpr std::int64_t kImages = 10000, kOf = 5;
  const Random normal(3), uniform(4);
  for (const double factor : {0.5, 1.0, 3.0}) {
    Judgements judgements{.classes = kOf, .logits = {}, .labels = {}};
    for (std::int64_t i = 0; i < kImages; ++i) {
      std::vector<double> logits;
      double sum = 0.0;
      for (std::int64_t k = 0; k < kOf; ++k)
        logits.push_back(1.5 * normal.normal(static_cast<std::uint64_t>(i * kOf + k)));
      for (const double logit : logits) sum += std::exp(logit);
      double left = uniform.uniform(static_cast<std::uint64_t>(i)) * sum;
      std::int32_t label = 0;
      while (label < kOf - 1 && (left -= std::exp(logits[static_cast<std::size_t>(label)])) > 0.0) ++label;
      for (const double logit : logits) judgements.logits.push_back(factor * logit);
      judgements.labels.push_back(label);
    }
    const double fitted = fit_temperature(judgements);
    EXPECT_NEAR(fitted / factor, 1.0, 0.05);
    EXPECT_LE(loss_at(judgements, fitted), loss_at(judgements, 1.0));
    for (const double other : {0.9, 1.1}) EXPECT_LT(loss_at(judgements, fitted), loss_at(judgements, other * fitted));
  }
}

TEST(Temperature, TheLossIsTheCrossEntropy) {
  const Judgements two{.classes = 2, .logits = {0.0, 0.0, 2.0, -2.0}, .labels = {1, 0}};
  EXPECT_NEAR(loss_at(two, 1.0), 0.5 * (std::log(2.0) + std::log1p(std::exp(-4.0))), 1e-12);
  EXPECT_NEAR(loss_at(two, 2.0), 0.5 * (std::log(2.0) + std::log1p(std::exp(-2.0))), 1e-12);
  EXPECT_THROW(fit_temperature({.classes = 2, .logits = {}, .labels = {}}), Error);
}

}  // namespace
}  // namespace stagewise
