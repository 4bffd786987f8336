// The criteria against scikit-learn's figures, closed forms and least squares on the features themselves.
#include <gtest/gtest.h>

#include <Eigen/SVD>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>

#include "search/criteria/criterion.h"
#include "search/criteria/pls.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace stagewise {
namespace {

struct Samples {
  Eigen::MatrixXd features;  // [N,P]
  std::vector<int> labels;
  int classes = 0;
};

/// Image by image, as a device would.
Moments moments_of(const Samples& samples) {
  const auto features = samples.features.cols();
  Moments moments{0, Eigen::VectorXd::Zero(features), Eigen::MatrixXd::Zero(features, features),
                  Eigen::MatrixXd::Zero(features, samples.classes), Eigen::VectorXd::Zero(samples.classes)};
  for (std::size_t i = 0; i < samples.labels.size(); ++i) {
    moments.images += 1;
    moments.class_counts(samples.labels[i]) += 1;
    if (features == 0) continue;  // Eigen would add to a null pointer
    const Eigen::VectorXd x = samples.features.row(static_cast<Eigen::Index>(i));
    moments.sum += x;
    moments.products += x * x.transpose();
    moments.class_sums.col(samples.labels[i]) += x;
  }
  return moments;
}

/// Normal noise, plus `signal` times a random centre of the image's class in the first `informative` features.
Samples clusters(int images, int features, int classes, int informative, double signal, std::uint64_t seed = 1) {
  const Random noise(seed, stream_of("noise")), centres(1, stream_of("centres"));
  Samples samples{Eigen::MatrixXd(images, features), std::vector<int>(static_cast<std::size_t>(images)), classes};
  for (int i = 0; i < images; ++i) {
    const int label = samples.labels[static_cast<std::size_t>(i)] = i % classes;
    for (int j = 0; j < features; ++j) {
      const double centre = centres.normal(static_cast<std::uint64_t>(label * features + j));
      samples.features(i, j) =
          (j < informative ? signal * centre : 0) + noise.normal(static_cast<std::uint64_t>(i * features + j));
    }
  }
  return samples;
}

StageEvidence evidence_of(const Samples& samples) {
  StageEvidence evidence;
  evidence.train = moments_of(samples);
  return evidence;
}

double score_of(const std::string& criterion, const Samples& samples) {
  return make_criterion(criterion)->score(evidence_of(samples));
}

double accuracy_on(const Samples& samples, const Eigen::MatrixXd& weights, const Eigen::VectorXd& bias) {
  int right = 0;
  for (std::size_t i = 0; i < samples.labels.size(); ++i) {
    Eigen::Index best = 0;
    const auto row = samples.features.row(static_cast<Eigen::Index>(i));
    (weights.transpose() * row.transpose() + bias).maxCoeff(&best);
    right += best == samples.labels[i];
  }
  return right / static_cast<double>(samples.labels.size());
}

// ---- PLS against scikit-learn --------------------------------------------------------------------------------------

struct Reference {
  std::string name;
  double r2y;  // scikit-learn's r2_score(standardised labels, prediction), averaged over the labels
};

void PrintTo(const Reference& reference, std::ostream* out) { *out << reference.name; }

/// The figures of `name`: its features [N,P], in units of 1e-5, labels and what scikit-learn made of them.
nlohmann::json reference_figures(const std::string& name) {
  return nlohmann::json::parse(std::ifstream(STAGEWISE_SOURCE_DIR "/tests/data/pls/" + name + ".json"));
}

// The figures come from a power iteration that ends when the square of a step is below 1e-12: so far is it still off.
constexpr double kStopsEarly = 5e-5;

class PlsReference : public testing::TestWithParam<Reference> {};

TEST_P(PlsReference, VipScoreWeightsAndR2yAgreeWithScikitLearn) {
  const nlohmann::json json = reference_figures(GetParam().name);
  const int images = json["n"], features = json["p"], components = json["components"];
  Samples samples{Eigen::MatrixXd(images, features), json["labels"], json["classes"]};
  for (int i = 0; i < images; ++i) {  // the figures were computed from features in float32
    for (int j = 0; j < features; ++j) {
      samples.features(i, j) = static_cast<float>(json["x"][i * features + j].get<double>() / 1e5);
    }
  }

  const Pls pls = fit_pls(moments_of(samples), {.components = components});
  const Eigen::VectorXd importance = variable_importance(pls);
  ASSERT_EQ(pls.weights.cols(), components);
  for (int j = 0; j < features; ++j) {
    const double expected = json["vip"][j];
    EXPECT_NEAR(importance(j), expected, kStopsEarly) << "feature " << j;
    for (int h = 0; h < components; ++h) {
      const double weight = json["x_weights"][j * components + h];
      EXPECT_NEAR(std::abs(pls.weights(j, h)), std::abs(weight), kStopsEarly) << "feature " << j << " component " << h;
    }
  }
  EXPECT_NEAR(importance.mean(), json["score"].get<double>(), 1e-6);
  EXPECT_NEAR(explained_variance(pls), GetParam().r2y, 1e-7);
  if (components == 2) {  // as many as the criterion's
    EXPECT_NEAR(score_of("vip", samples), json["score"].get<double>(), 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, PlsReference,
                         testing::Values(Reference{"small", 0.747222785585},
                                         Reference{"constant_columns", 0.186417759523},
                                         Reference{"three_components", 0.244587528061}),
                         [](const auto& info) { return info.param.name; });

// ---- PLS against closed forms --------------------------------------------------------------------------------------

/// Columns of mean 0 and length 1.
Eigen::MatrixXd standardised(Eigen::MatrixXd columns) {
  columns.rowwise() -= Eigen::RowVectorXd(columns.colwise().mean());
  for (auto column : columns.colwise()) column /= column.norm();
  return columns;
}

Eigen::MatrixXd one_hot(const Samples& samples) {
  Eigen::MatrixXd labels = Eigen::MatrixXd::Zero(samples.features.rows(), samples.classes);
  for (std::size_t i = 0; i < samples.labels.size(); ++i) {
    labels(static_cast<Eigen::Index>(i), samples.labels[i]) = 1;
  }
  return labels;
}

TEST(Pls, MeanOfSquaredVipIsOne) {
  Samples samples = clusters(200, 12, 5, 4, 1.0);
  samples.features.col(3).setConstant(0.7);
  for (const int components : {1, 2, 4}) {
    const Eigen::VectorXd importance = variable_importance(fit_pls(moments_of(samples), {.components = components}));
    EXPECT_NEAR(importance.squaredNorm() / 12, 1, 1e-12) << components;
    EXPECT_EQ(importance(3), 0);
    EXPECT_LE(importance.mean(), 1);
  }
}

TEST(Pls, OneHotFeaturesExplainOneOfClassesMinusOneDimensionsEach) {
  for (const int classes : {2, 3, 10}) {
    Samples samples{Eigen::MatrixXd::Zero(6 * classes, classes), {}, classes};
    for (int i = 0; i < 6 * classes; ++i) {
      samples.labels.push_back(i % classes);
      samples.features(i, i % classes) = 1;
    }
    EXPECT_NEAR(score_of("r2y", samples), std::min(1.0, 2.0 / (classes - 1)), 1e-9) << classes << " classes";
  }
}

TEST(Pls, ExplainedVarianceIsThatOfLeastSquaresOnTheScores) {
  const Samples samples = clusters(150, 9, 4, 5, 0.8);
  const Pls pls = fit_pls(moments_of(samples), {.components = 3});
  // With scores T of the deflated features, the weights W span the space that T spans: regress on X W.
  const Eigen::MatrixXd x = standardised(samples.features), y = standardised(one_hot(samples));
  const Eigen::MatrixXd scores = x * pls.weights;
  const Eigen::MatrixXd residual = y - scores * scores.colPivHouseholderQr().solve(y);
  EXPECT_NEAR(explained_variance(pls), 1 - residual.squaredNorm() / y.squaredNorm(), 1e-9);
}

TEST(Pls, UnitsAndOffsetsOfFeaturesDoNotMatter) {
  const Samples samples = clusters(120, 6, 3, 3, 1.0);
  Samples other = samples;
  for (int j = 0; j < 6; ++j) other.features.col(j) = (samples.features.col(j).array() + j) * std::pow(10.0, j - 3);
  const Eigen::VectorXd difference =
      variable_importance(fit_pls(moments_of(samples))) - variable_importance(fit_pls(moments_of(other)));
  EXPECT_LT(difference.cwiseAbs().maxCoeff(), 1e-9);
}

/// `samples` with class k called order[k].
Samples relabelled(Samples samples, const std::vector<int>& order) {
  for (int& label : samples.labels) label = order[static_cast<std::size_t>(label)];
  return samples;
}

TEST(Pls, TheOrderOfTheClassesDoesNotMatter) {
  Samples equal{Eigen::MatrixXd::Zero(60, 5), {}, 5};  // all singular values are equal
  for (int i = 0; i < 60; ++i) {
    equal.labels.push_back(i % 5);
    equal.features(i, i % 5) = 1;
  }
  Samples nearly = equal;  // and all close
  nearly.features += 1e-3 * clusters(60, 5, 5, 0, 0).features;
  for (const Samples& samples : {clusters(200, 12, 5, 4, 1.0), clusters(200, 12, 5, 0, 0), equal, nearly}) {
    for (const std::vector<int>& order : {std::vector<int>{4, 3, 2, 1, 0}, {1, 2, 3, 4, 0}, {2, 0, 4, 1, 3}}) {
      for (const char* criterion : {"vip", "r2y"}) {
        EXPECT_NEAR(score_of(criterion, relabelled(samples, order)), score_of(criterion, samples), 1e-10) << criterion;
      }
    }
  }
}

TEST(Pls, ItsDirectionsAreTheSingularVectorsOfWhatIsLeftWithAPositiveLargestElement) {
  const Samples samples = clusters(200, 12, 5, 4, 1.0);
  Eigen::MatrixXd x = standardised(samples.features), y = standardised(one_hot(samples));
  const Pls pls = fit_pls(moments_of(samples), {.components = 3});
  for (int component = 0; component < 3; ++component) {
    const Eigen::MatrixXd cross = x.transpose() * y;
    const Eigen::VectorXd direction = cross.jacobiSvd(Eigen::ComputeThinU).matrixU().col(0);
    const Eigen::VectorXd weights = pls.weights.col(component);
    EXPECT_NEAR(std::abs(weights.dot(direction)), 1, 1e-12);
    EXPECT_EQ(weights.maxCoeff(), weights.cwiseAbs().maxCoeff());
    const Eigen::VectorXd scores = (x * direction).normalized();
    x -= scores * (scores.transpose() * x);
    y -= scores * (scores.transpose() * y);
  }
}

TEST(Pls, ConstantFeatureStaysConstantThroughTheRoundingOfSums) {
  Samples samples = clusters(50000, 3, 10, 2, 1.0);
  samples.features.col(2).setConstant(static_cast<double>(0.1F) * 37);
  const Moments moments = moments_of(samples);
  EXPECT_EQ(scatter_of(moments).features(2, 2), 0);
  EXPECT_EQ(variable_importance(fit_pls(moments))(2), 0);
}

TEST(Pls, ComponentsStopAtTheRank) {
  Samples samples = clusters(60, 5, 3, 5, 2.0);
  for (int j = 1; j < 5; ++j) samples.features.col(j) = (j + 1) * samples.features.col(0);
  const Pls one = fit_pls(moments_of(samples), {.components = 4});
  EXPECT_EQ(one.weights.cols(), 1);
  EXPECT_NEAR(variable_importance(one).mean(), 1, 1e-9);  // all the same, so all 1

  const Pls few_images = fit_pls(moments_of(clusters(3, 8, 3, 8, 2.0)), {.components = 8});
  EXPECT_LE(few_images.weights.cols(), 2);
  EXPECT_NEAR(explained_variance(few_images), 1, 1e-9);
}

TEST(Pls, NothingToFitScoresZero) {
  Samples one_class = clusters(40, 4, 3, 4, 1.0), constant = one_class;
  one_class.labels.assign(40, 1);
  constant.features.setConstant(2.5);
  const Samples empty{Eigen::MatrixXd(0, 4), {}, 3}, one_image = clusters(1, 4, 3, 4, 1.0),
                                                     no_features{Eigen::MatrixXd(6, 0), {0, 1, 2, 0, 1, 2}, 3};
  for (const Samples* samples :
       std::initializer_list<const Samples*>{&one_class, &constant, &empty, &one_image, &no_features}) {
    EXPECT_EQ(score_of("vip", *samples), 0);
    EXPECT_EQ(score_of("r2y", *samples), 0);
  }
}

TEST(Pls, DivergedFeaturesAndWrongShapesAreErrors) {
  Moments moments = moments_of(clusters(20, 4, 2, 4, 1.0));
  moments.products(1, 2) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(fit_pls(moments), Error);
  moments = moments_of(clusters(20, 4, 2, 4, 1.0));
  moments.class_sums.resize(3, 2);
  EXPECT_THROW(fit_pls(moments), Error);
  EXPECT_THROW(fit_pls(moments_of(clusters(20, 4, 2, 4, 1.0)), {.components = 0}), Error);
}

TEST(Criteria, MeanVipPrefersNoiseToAFewGoodFeaturesAndR2yDoesNot) {
  const Samples noise = clusters(2000, 16, 10, 0, 0), few_good = clusters(2000, 16, 10, 4, 3.0);
  EXPECT_GT(score_of("vip", noise), score_of("vip", few_good) + 0.1);
  EXPECT_LT(score_of("r2y", noise), score_of("r2y", few_good) - 0.1);
}

// ---- The linear probe ----------------------------------------------------------------------------------------------

TEST(Probe, IsTheRidgeRegressionOfTheLabels) {
  const Samples samples = clusters(80, 5, 3, 5, 1.0);
  StageEvidence evidence = evidence_of(samples);
  Eigen::MatrixXd weights;
  Eigen::VectorXd bias;
  evidence.validation_accuracy = [&](const Eigen::MatrixXd& w, const Eigen::VectorXd& b) {
    weights = w;
    bias = b;
    return 0.625;
  };
  EXPECT_EQ(make_criterion("probe")->score(evidence), 0.625);

  // Least squares with a row sqrt(lambda) e_j for each weight, and a column of ones for the bias.
  const Eigen::MatrixXd centred = samples.features.rowwise() - samples.features.colwise().mean();
  const double lambda = 1e-3 * centred.squaredNorm() / 5;
  Eigen::MatrixXd left = Eigen::MatrixXd::Zero(85, 6), right = Eigen::MatrixXd::Zero(85, 3);
  left.topLeftCorner(80, 5) = samples.features;
  left.topRightCorner(80, 1).setOnes();
  left.bottomLeftCorner(5, 5).diagonal().setConstant(std::sqrt(lambda));
  for (int i = 0; i < 80; ++i) right(i, samples.labels[static_cast<std::size_t>(i)]) = 1;
  const Eigen::MatrixXd expected = left.colPivHouseholderQr().solve(right);
  EXPECT_LT((weights - expected.topRows(5)).cwiseAbs().maxCoeff(), 1e-10);
  EXPECT_LT((bias - expected.row(5).transpose()).cwiseAbs().maxCoeff(), 1e-10);
}

TEST(Probe, TellsGoodFeaturesFromNoise) {
  const auto score = [](double signal) {
    StageEvidence evidence = evidence_of(clusters(3000, 16, 10, 16, signal, 1));
    const Samples validation = clusters(1000, 16, 10, 16, signal, 2);
    evidence.validation_accuracy = [&](const auto& weights, const auto& bias) {
      return accuracy_on(validation, weights, bias);
    };
    return make_criterion("probe")->score(evidence);
  };
  EXPECT_GT(score(5.0), 0.99);
  EXPECT_NEAR(score(0.0), 0.1, 0.04);
}

TEST(Probe, ConstantFeaturesPredictTheCommonestClass) {
  Samples samples{Eigen::MatrixXd::Constant(10, 4, 3.0), {0, 1, 1, 1, 1, 1, 1, 2, 2, 0}, 3};
  StageEvidence evidence = evidence_of(samples);
  evidence.validation_accuracy = [&](const auto& weights, const auto& bias) {
    return accuracy_on(samples, weights, bias);
  };
  EXPECT_EQ(make_criterion("probe")->score(evidence), 0.6);
}

TEST(Probe, WithoutValidationImagesIsAnError) {
  EXPECT_THROW(make_criterion("probe")->score(evidence_of(clusters(20, 4, 2, 4, 1.0))), Error);
}

// ---- The controls --------------------------------------------------------------------------------------------------

double rise_of(const std::string& criterion, std::int64_t stage, std::int64_t round, std::int64_t depth,
               std::uint64_t seed) {
  StageEvidence evidence;
  evidence.stage = stage;
  evidence.round = round;
  evidence.seed = seed;
  evidence.depth = depth;
  const auto judge = make_criterion(criterion);
  const double before = judge->score(evidence);
  evidence.depth = depth + 2;
  return judge->score(evidence) - before;
}

TEST(Uniform, EveryDeeperStageScoresHigher) {
  for (std::int64_t depth = 1; depth < 100; ++depth) EXPECT_EQ(rise_of("uniform", depth % 3, depth, depth, 7), 2);
}

TEST(RandomCriterion, RisesAreFairCoinsInEveryRoundWhateverCameBefore) {
  constexpr int kRounds = 4000;
  int rises = 0, same_as_last = 0, same_as_other_stage = 0, same_as_other_seed = 0;
  for (int round = 1; round <= kRounds; ++round) {
    const bool rose = rise_of("random", 0, round, 3 + round, 1) > 0;
    rises += rose;
    same_as_last += rose == (rise_of("random", 0, round - 1, 2 + round, 1) > 0);
    same_as_other_stage += rose == (rise_of("random", 1, round, 3 + round, 1) > 0);
    same_as_other_seed += rose == (rise_of("random", 0, round, 3 + round, 2) > 0);
  }
  // 4.4 standard deviations of 4000 fair coins.
  for (const int count : {rises, same_as_last, same_as_other_stage, same_as_other_seed}) {
    EXPECT_NEAR(count, kRounds / 2, 140);
  }
}

TEST(RandomCriterion, SameSeedSameScore) {
  EXPECT_EQ(rise_of("random", 2, 5, 9, 11), rise_of("random", 2, 5, 9, 11));
  EXPECT_NE(rise_of("random", 2, 5, 9, 11), rise_of("random", 2, 5, 9, 12));
}

// ---- The table -----------------------------------------------------------------------------------------------------

std::string text_of(const std::string& file) {
  std::ifstream stream(std::string(STAGEWISE_SOURCE_DIR) + "/" + file);
  return std::string((std::istreambuf_iterator<char>(stream)), {});
}

/// What CONTRIBUTING asks of a criterion; each failure says what is lacking.
TEST(Criteria, LackNothingThatTheGuideAsksFor) {
  const std::string readme = text_of("README.md"), tests = text_of("tests/criteria_test.cpp");
  ASSERT_FALSE(readme.empty() || tests.empty());
  std::set<std::string> names;
  for (const std::string& name : criterion_names()) {
    const auto criterion = make_criterion(name);
    EXPECT_EQ(criterion->name(), name);
    EXPECT_TRUE(names.insert(name).second) << "two criteria are called " << name;
    EXPECT_FALSE(criterion->description().empty()) << name << " lacks a line for --help";
    EXPECT_TRUE(readme.find("`" + name + "`") != std::string::npos) << "README.md doesn't say what " << name << " is";
    EXPECT_TRUE(tests.find("\"" + name + "\"") != std::string::npos) << name << " lacks a test in this file";
  }
}

TEST(Criteria, UnknownNameListsTheKnownOnes) {
  try {
    make_criterion("magic");
    FAIL() << "no error";
  } catch (const Error& error) {
    const std::string message = error.what();
    for (const std::string& name : criterion_names()) EXPECT_TRUE(message.find(name) != std::string::npos) << message;
    EXPECT_TRUE(message.find("got 'magic'") != std::string::npos) << message;
  }
}

}  // namespace
}  // namespace stagewise
