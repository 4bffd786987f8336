// The stages' importance, measured on the network as it stands: each stage's last sum before its ReLU, averaged over
// windows of 8x8 pixels, is the evidence that a criterion (search/criteria/) scores.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "search/criteria/criterion.h"
#include "search/training/trainer.h"

namespace stagewise {

/// The windows that a map of this height and width is averaged over: 8 pixels a side, more where that would leave more
/// than 4 windows a side, the whole side where it is shorter than 8.
struct PoolingWindow {
  std::int64_t height = 1, width = 1;
};
PoolingWindow pooling_window(std::int64_t height, std::int64_t width);

/// Each stage's moments over the images at `indices`, as they are, the network in evaluation mode. One pass.
std::vector<Moments> stage_moments(const Network& network, const ImageStore& images,
                                   std::span<const std::int32_t> indices, const PassCallback& callback = {});

/// Moments over equal parts of some images, which are dealt out one after the other: [part][stage].
using MomentParts = std::vector<std::vector<Moments>>;

/// Each stage's moments over each of eight parts of the images at `indices` (fewer where there are fewer images). One
/// pass.
MomentParts moments_of_parts(const Network& network, const ImageStore& images, std::span<const std::int32_t> indices,
                             const PassCallback& callback = {});

/// Adds `more`, part by part, as if its images had been among those of `parts`.
void add_parts(const MomentParts& more, MomentParts& parts);

/// A score of a stage, and what it would have been without each of eight equal parts of the training images: its
/// jackknife replicates (Efron 1982), none for criteria that don't look at images.
struct ReplicatedScore {
  double value = 0.0;
  std::vector<double> without_part;
};

/// The standard error of `score`, or of a difference of two scores over the same parts.
double jackknife_error(const std::vector<double>& without_part);

/// Each stage's score. `train` gives the moments, `validation` judges what a criterion fits; `seed` is for criteria
/// that draw. Errors: throws Error for a criterion that judges on held-out images where there are none, and for a score
/// that isn't finite.
std::vector<ReplicatedScore> score_stages(const Network& network, const ImageStore& images,
                                          std::span<const std::int32_t> train, std::span<const std::int32_t> validation,
                                          const Criterion& criterion, std::uint64_t seed, std::int64_t round = 0,
                                          const PassCallback& callback = {});

/// The same from moments that have been gathered already, so that one pass serves several criteria.
std::vector<ReplicatedScore> score_stages(const Network& network, const ImageStore& images, const MomentParts& train,
                                          std::span<const std::int32_t> validation, const Criterion& criterion,
                                          std::uint64_t seed, std::int64_t round = 0);

}  // namespace stagewise
