// Softmax and its cross-entropy. A batch has a few thousand logits: the work is the exponentials, in double.
#include <cmath>
#include <limits>

#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

constexpr std::int64_t kRowsAnItem = 16;

/// exp(logits - largest) into `out`; returns their sum.
double exponentials(const float* logits, std::int64_t classes, double largest, double* out) {
  double sum = 0;
  for (std::int64_t k = 0; k < classes; ++k) sum += out[k] = std::exp(logits[k] - largest);
  return sum;
}

}  // namespace

void CpuBackend::softmax(const Tensor& logits, const Tensor& probabilities) {
  const std::int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  std::vector<double> weights(static_cast<std::size_t>(classes));
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* const in = logits.data<float>() + row * classes;
    const double sum = exponentials(in, classes, *std::max_element(in, in + classes), weights.data());
    for (std::int64_t k = 0; k < classes; ++k) {
      probabilities.data<float>()[row * classes + k] = static_cast<float>(weights[static_cast<std::size_t>(k)] / sum);
    }
  }
}

void CpuBackend::softmax_cross_entropy(const SoftmaxCrossEntropy& call) {
  const std::int64_t rows = call.logits.shape()[0], classes = call.logits.shape()[1];
  const double smoothed = call.smoothing / static_cast<double>(classes), kept = 1.0 - call.smoothing;
  std::vector<double> losses(static_cast<std::size_t>(rows));
  std::vector<char> right(losses.size());
  pool_.run((rows + kRowsAnItem - 1) / kRowsAnItem, [&](std::int64_t item) {
    std::vector<double> weights(static_cast<std::size_t>(classes));
    for (std::int64_t row = item * kRowsAnItem; row < std::min(rows, (item + 1) * kRowsAnItem); ++row) {
      const float* const logits = call.logits.data<float>() + row * classes;
      const std::int32_t label = call.labels.data<std::int32_t>()[row];
      const bool known = label >= 0 && label < classes;
      const double spread = known ? smoothed : std::numeric_limits<double>::quiet_NaN();
      const float* const largest = std::max_element(logits, logits + classes);
      const double sum = exponentials(logits, classes, *largest, weights.data());
      // Loss: sum over k of target_k (log(sum) - (logit_k - largest)).
      double loss = std::log(sum) - kept * (logits[known ? label : 0] - *largest);
      for (std::int64_t k = 0; k < classes; ++k) loss -= spread * (logits[k] - *largest);
      losses[static_cast<std::size_t>(row)] = loss;
      right[static_cast<std::size_t>(row)] = static_cast<char>(largest - logits == label);
      for (std::int64_t k = 0; call.d_logits.defined() && k < classes; ++k) {
        const double target = spread + (k == label ? kept : 0.0);
        call.d_logits.data<float>()[row * classes + k] =
            static_cast<float>((weights[static_cast<std::size_t>(k)] / sum - target) / static_cast<double>(rows));
      }
    }
  });
  double loss = 0, count = 0;
  for (std::size_t row = 0; row < losses.size(); ++row) {
    loss += losses[row];
    count += right[row];
  }
  call.loss.data<float>()[0] = static_cast<float>(loss / static_cast<double>(rows));
  if (!call.totals.defined()) return;
  call.totals.data<double>()[0] += loss;
  call.totals.data<double>()[1] += count;
}

}  // namespace stagewise::cpu
