// Labels that name no class, at the seam: nothing outside the tensors is touched, and what comes is defined.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tensor/backend.h"

namespace stagewise {

/// Softmax cross-entropy and moments of three images: the first is of class 1 of 3, the others' labels are strays.
inline void expect_defined_for_stray_labels(Backend& backend) {
  constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min(), kMost = -(kLeast + 1);
  for (const auto& [one, other] : {std::pair<std::int32_t, std::int32_t>{3, -1}, {kLeast, kMost}, {4, 1'000'000}}) {
    const std::string what =
        backend.description() + ", labels " + std::to_string(one) + " and " + std::to_string(other);
    const Tensor labels = Tensor::from_host(backend, {3}, std::vector<std::int32_t>{1, one, other});
    const std::vector<float> values = {1, 2, 0, 0, 0, 5, 7, 1, 1};
    for (const double smoothing : {0.0, 0.1}) {
      const Tensor loss(backend, {1}), d_logits(backend, {3, 3}), totals = Tensor::zeros(backend, {2}, DType::float64);
      backend.softmax_cross_entropy(
          {Tensor::from_host(backend, {3, 3}, values), labels, smoothing, loss, d_logits, totals});
      EXPECT_TRUE(std::isnan(loss.to_host<float>()[0])) << what;
      EXPECT_TRUE(std::isnan(totals.to_host<double>()[0])) << what;
      EXPECT_EQ(totals.to_host<double>()[1], 1.0) << what;  // the first image's largest logit is its label's
      const std::vector<float> gradients = d_logits.to_host<float>();
      for (std::size_t i = 0; i < gradients.size(); ++i)
        EXPECT_EQ(std::isnan(gradients[i]), i >= 3) << what << ' ' << i;
    }
    const Tensor sum = Tensor::zeros(backend, {3}, DType::float64),
                 products = Tensor::zeros(backend, {3, 3}, DType::float64),
                 class_sums = Tensor::zeros(backend, {3, 3}, DType::float64),
                 class_counts = Tensor::zeros(backend, {3}, DType::float64);
    backend.accumulate_moments(
        {Tensor::from_host(backend, {3, 3}, values), labels, sum, products, class_sums, class_counts});
    EXPECT_EQ(sum.to_host<double>(), (std::vector<double>{8, 3, 6})) << what;
    EXPECT_EQ(products.to_host<double>(), (std::vector<double>{50, 9, 7, 9, 5, 1, 7, 1, 26})) << what;
    EXPECT_EQ(class_sums.to_host<double>(), (std::vector<double>{0, 0, 0, 1, 2, 0, 0, 0, 0})) << what;
    EXPECT_EQ(class_counts.to_host<double>(), (std::vector<double>{0, 1, 0})) << what;
  }
}

}  // namespace stagewise
