#include "search/importance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace stagewise {

namespace {

constexpr std::int64_t kWindow = 8;
constexpr std::int64_t kMostWindows = 4;
constexpr std::size_t kParts = 8;

std::int64_t window_side(std::int64_t side) {
  return side < kWindow ? side : std::max(kWindow, (side + kMostWindows - 1) / kMostWindows);
}

/// A stage's features [N,P] from its sum [N,H,W,C].
Tensor pooled(const Tensor& sum) {
  const Shape& shape = sum.shape();
  const auto [height, width] = pooling_window(shape[1], shape[2]);
  const std::int64_t rows = shape[1] / height, columns = shape[2] / width;
  Tensor means(sum.backend(), {shape[0], rows, columns, shape[3]}, parameter_type(sum.dtype()));
  sum.backend().average_pool_forward({.x = sum, .y = means, .height = height, .width = width});
  return means.reshaped({shape[0], rows * columns * shape[3]});
}

/// Each stage's features of one batch.
std::vector<Tensor> stage_features(const Network& network, const Batch& batch) {
  std::vector<Tensor> sums;
  network.evaluate(batch.x, &sums);
  std::transform(sums.begin(), sums.end(), sums.begin(), pooled);
  return sums;
}

/// Moments of one stage, on the device.
AccumulateMoments empty_moments(Backend& backend, std::int64_t features, std::int64_t classes) {
  AccumulateMoments moments;
  moments.sum = Tensor::zeros(backend, {features}, DType::float64);
  moments.products = Tensor::zeros(backend, {features, features}, DType::float64);
  moments.class_sums = Tensor::zeros(backend, {classes, features}, DType::float64);
  moments.class_counts = Tensor::zeros(backend, {classes}, DType::float64);
  return moments;
}

/// Row-major on the device, column-major in Eigen.
Eigen::MatrixXd to_matrix(const Tensor& tensor) {
  const std::vector<double> values = tensor.to_doubles();
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<const RowMajor>(values.data(), tensor.shape()[0], tensor.shape().back());
}

Moments to_host(const AccumulateMoments& device) {
  const std::vector<double> sum = device.sum.to_host<double>(), counts = device.class_counts.to_host<double>();
  Moments moments;
  moments.sum = Eigen::Map<const Eigen::VectorXd>(sum.data(), static_cast<Eigen::Index>(sum.size()));
  moments.class_counts = Eigen::Map<const Eigen::VectorXd>(counts.data(), static_cast<Eigen::Index>(counts.size()));
  moments.products = to_matrix(device.products);
  moments.class_sums = to_matrix(device.class_sums).transpose();
  moments.images = moments.class_counts.sum();
  return moments;
}

/// How many of the images at `indices` a linear classifier on each stage's features gets right. The features are
/// computed once, when they are first asked for.
class LinearJudge {
 public:
  LinearJudge(const Network& network, const ImageStore& images, std::span<const std::int32_t> indices)
      : network_(network), images_(images), indices_(indices) {}

  double accuracy(std::size_t stage, const Eigen::MatrixXd& weights, const Eigen::VectorXd& bias) {
    if (batches_.empty()) gather();
    std::int64_t right = 0;
    for (const auto& batch : batches_) {
      const Eigen::MatrixXd scores = (batch.features[stage] * weights).rowwise() + bias.transpose();
      for (Eigen::Index row = 0; row < scores.rows(); ++row) {
        Eigen::Index best = 0;
        scores.row(row).maxCoeff(&best);
        right += best == batch.labels[static_cast<std::size_t>(row)] ? 1 : 0;
      }
    }
    return indices_.empty() ? 0.0 : static_cast<double>(right) / static_cast<double>(indices_.size());
  }

 private:
  struct HostBatch {
    std::vector<Eigen::MatrixXd> features;  // a stage each, [N,P]
    std::vector<std::int32_t> labels;
  };

  void gather() {
    for_each_batch(images_, indices_, [&](const Batch& batch) {
      HostBatch host{{}, batch.labels.to_host<std::int32_t>()};
      for (const Tensor& features : stage_features(network_, batch)) {
        host.features.push_back(to_matrix(features));
      }
      batches_.push_back(std::move(host));
    });
  }

  const Network& network_;
  const ImageStore& images_;
  std::span<const std::int32_t> indices_;
  std::vector<HostBatch> batches_;
};

void add(const Moments& part, Moments& sum) {
  if (sum.images == 0) {
    sum = part;
    return;
  }
  sum.images += part.images;
  sum.sum += part.sum;
  sum.products += part.products;
  sum.class_sums += part.class_sums;
  sum.class_counts += part.class_counts;
}

}  // namespace

PoolingWindow pooling_window(std::int64_t height, std::int64_t width) {
  return {.height = window_side(height), .width = window_side(width)};
}

std::vector<Moments> stage_moments(const Network& network, const ImageStore& images,
                                   std::span<const std::int32_t> indices, const PassCallback& callback) {
  const std::int64_t classes = network.architecture().classes;
  std::vector<AccumulateMoments> device;
  PassProgress progress{.images_total = static_cast<std::int64_t>(indices.size())};
  for_each_batch(images, indices, [&](const Batch& batch) {
    const std::vector<Tensor> features = stage_features(network, batch);
    while (device.size() < features.size()) {
      device.push_back(empty_moments(network.backend(), features[device.size()].shape()[1], classes));
    }
    for (std::size_t stage = 0; stage < features.size(); ++stage) {
      AccumulateMoments moments = device[stage];
      moments.features = features[stage];
      moments.labels = batch.labels;
      network.backend().accumulate_moments(moments);
    }
    progress.images_done += batch.count();
    if (callback) callback(progress);
  });
  std::vector<Moments> moments;
  std::transform(device.begin(), device.end(), std::back_inserter(moments), to_host);
  return moments;
}

MomentParts moments_of_parts(const Network& network, const ImageStore& images, std::span<const std::int32_t> indices,
                             const PassCallback& callback) {
  const std::size_t count = std::min(kParts, indices.size());
  MomentParts parts;
  for (std::size_t part = 0; part < count; ++part) {
    std::vector<std::int32_t> dealt;
    for (std::size_t i = part; i < indices.size(); i += count) dealt.push_back(indices[i]);
    parts.push_back(stage_moments(network, images, dealt, callback));
  }
  return parts;
}

void add_parts(const MomentParts& more, MomentParts& parts) {
  parts.resize(std::max(parts.size(), more.size()));
  for (std::size_t part = 0; part < more.size(); ++part) {
    parts[part].resize(more[part].size());
    for (std::size_t stage = 0; stage < more[part].size(); ++stage) add(more[part][stage], parts[part][stage]);
  }
}

double jackknife_error(const std::vector<double>& without_part) {
  const auto parts = static_cast<double>(without_part.size());
  if (without_part.size() < 2) return 0.0;
  const double mean = std::accumulate(without_part.begin(), without_part.end(), 0.0) / parts;
  double squares = 0.0;
  for (const double value : without_part) squares += (value - mean) * (value - mean);
  return std::sqrt((parts - 1.0) / parts * squares);
}

std::vector<ReplicatedScore> score_stages(const Network& network, const ImageStore& images,
                                          std::span<const std::int32_t> train, std::span<const std::int32_t> validation,
                                          const Criterion& criterion, std::uint64_t seed, std::int64_t round,
                                          const PassCallback& callback) {
  return score_stages(network, images,
                      criterion.needs_moments() ? moments_of_parts(network, images, train, callback) : MomentParts{},
                      validation, criterion, seed, round);
}

std::vector<ReplicatedScore> score_stages(const Network& network, const ImageStore& images, const MomentParts& parts,
                                          std::span<const std::int32_t> validation, const Criterion& criterion,
                                          std::uint64_t seed, std::int64_t round) {
  require(!criterion.needs_validation() || !validation.empty(), "[--criterion] ", criterion.name(),
          " judges on held-out images, and there are none: give --validation a share");
  const std::size_t stages = network.architecture().stages.size();
  LinearJudge judge(network, images, validation);
  std::vector<ReplicatedScore> scores;
  for (std::size_t stage = 0; stage < stages; ++stage) {
    StageEvidence evidence;
    evidence.stage = static_cast<std::int64_t>(stage);
    evidence.depth = network.active_architecture().depths()[stage];
    evidence.round = round;
    evidence.validation_accuracy = [&judge, stage](const Eigen::MatrixXd& weights, const Eigen::VectorXd& bias) {
      return judge.accuracy(stage, weights, bias);
    };
    evidence.seed = seed;
    const auto score_without = [&](std::size_t left_out) {
      evidence.train = {};
      for (std::size_t part = 0; part < parts.size(); ++part) {
        if (part != left_out) add(parts[part][stage], evidence.train);
      }
      const double score = criterion.score(evidence);
      require(std::isfinite(score), "[--criterion] the ", criterion.name(), " score of stage ", stage + 1, " is ",
              score);
      return score;
    };
    ReplicatedScore score{.value = score_without(parts.size()), .without_part = {}};
    for (std::size_t part = 0; parts.size() > 1 && part < parts.size(); ++part) {
      score.without_part.push_back(score_without(part));
    }
    scores.push_back(std::move(score));
  }
  return scores;
}

}  // namespace stagewise
