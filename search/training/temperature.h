// Temperature scaling (Guo et al. 2017, arXiv 1706.04599, section 4.2): trained networks are surer than they are right;
// one number, fitted on images that they never saw, mends most of that.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layers/inference.h"
#include "search/training/trainer.h"

namespace stagewise {

/// What a network says of some images: logits [images][classes], and what is right.
struct Judgements {
  std::int64_t classes = 0;
  std::vector<double> logits;
  std::vector<std::int32_t> labels;
};

Judgements judgements_of(const InferenceNetwork& network, const ImageStore& images,
                         std::span<const std::int32_t> indices, const PassCallback& callback = {});

/// Mean cross-entropy of softmax(logits / temperature), in nats.
double loss_at(const Judgements& judgements, double temperature);

/// The temperature, from 0.01 to 100, with the lowest loss. Errors: throws Error where there are no images.
double fit_temperature(const Judgements& judgements);

}  // namespace stagewise
