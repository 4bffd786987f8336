// What stands round the network: the loss, the optimisers, augmentation, and the moments for the importance criteria.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "cpu/reference_kernels.h"

namespace stagewise::reference {
namespace {

/// log(sum of exp(logits)). The largest logit is taken out first, so that no exponential overflows.
template <class T>
double log_sum_exp(const T* logits, std::int64_t classes) {
  const double largest = *std::max_element(logits, logits + classes);
  double sum = 0.0;
  for (std::int64_t k = 0; k < classes; ++k) sum += std::exp(double(logits[k]) - largest);
  return largest + std::log(sum);
}

template <class T>
void cross_entropy(const SoftmaxCrossEntropy& call) {
  const std::int64_t N = call.logits.shape()[0], K = call.logits.shape()[1];
  double total_loss = 0.0, right = 0.0;
  for (std::int64_t n = 0; n < N; ++n) {
    const T* logits = call.logits.data<T>() + n * K;
    const std::int64_t label = call.labels.data<std::int32_t>()[n];
    const bool known = label >= 0 && label < K;
    const double spread = known ? call.smoothing / double(K) : std::numeric_limits<double>::quiet_NaN();
    const double log_sum = log_sum_exp(logits, K);
    for (std::int64_t k = 0; k < K; ++k) {
      const double target = spread + (k == label ? 1.0 - call.smoothing : 0.0);
      const double log_probability = double(logits[k]) - log_sum;
      // A target of zero adds nothing, even where the probability is zero too and its logarithm minus infinity.
      if (target != 0.0) total_loss -= target * log_probability;
      if (call.d_logits.defined()) {
        call.d_logits.data<T>()[n * K + k] = static_cast<T>((std::exp(log_probability) - target) / double(N));
      }
    }
    if (std::max_element(logits, logits + K) - logits == label) right += 1.0;
  }
  call.loss.data<T>()[0] = static_cast<T>(total_loss / double(N));
  if (call.totals.defined()) {
    call.totals.data<double>()[0] += total_loss;
    call.totals.data<double>()[1] += right;
  }
}

template <class T>
void sgd(const SgdStep& call, const SgdStep::Parameter& parameter) {
  T* value = parameter.value.data<T>();
  T* velocity = parameter.velocity.data<T>();
  const T* gradient = parameter.gradient.data<T>();
  const double learning_rate = call.rate.defined() ? double(call.rate.data<float>()[0]) : call.learning_rate;
  for (std::int64_t i = 0; i < parameter.value.count(); ++i) {
    const double g = double(gradient[i]) + parameter.weight_decay * double(value[i]);
    const double v = call.momentum * double(velocity[i]) + g;
    velocity[i] = static_cast<T>(v);
    value[i] = static_cast<T>(double(value[i]) - learning_rate * (call.nesterov ? g + call.momentum * v : v));
  }
}

template <class T>
void adamw(const AdamWStep& call, const AdamWStep::Parameter& parameter) {
  T* value = parameter.value.data<T>();
  T* first = parameter.first.data<T>();
  T* second = parameter.second.data<T>();
  const T* gradient = parameter.gradient.data<T>();
  const double learning_rate = call.rate.defined() ? double(call.rate.data<float>()[0]) : call.learning_rate;
  const double t = double(parameter.steps.data<T>()[0] += T(1));
  const double correction1 = 1.0 - std::pow(call.beta1, t), correction2 = 1.0 - std::pow(call.beta2, t);
  for (std::int64_t i = 0; i < parameter.value.count(); ++i) {
    const double g = gradient[i];
    const double m = call.beta1 * double(first[i]) + (1.0 - call.beta1) * g;
    const double v = call.beta2 * double(second[i]) + (1.0 - call.beta2) * g * g;
    const double w = double(value[i]) - learning_rate * parameter.weight_decay * double(value[i]);
    first[i] = static_cast<T>(m);
    second[i] = static_cast<T>(v);
    value[i] =
        static_cast<T>(w - learning_rate / correction1 * m / (std::sqrt(v) / std::sqrt(correction2) + call.epsilon));
  }
}

/// In float, each operation in double and then rounded gives what the operation in float does.
template <class T>
void average(const AverageStep::Parameter& parameter, double decay) {
  T* average = parameter.average.data<T>();
  const T* value = parameter.value.data<T>();
  const T rate = static_cast<T>(1.0 - decay);
  for (std::int64_t i = 0; i < parameter.value.count(); ++i) {
    const T difference = static_cast<T>(double(value[i]) - double(average[i]));
    const T product = static_cast<T>(double(rate) * double(difference));
    average[i] = static_cast<T>(double(average[i]) + double(product));
  }
}

std::int64_t reflect(std::int64_t i, std::int64_t size) {
  if (size == 1) return 0;
  if (i < 0) return -i;
  return i < size ? i : 2 * size - 2 - i;
}

}  // namespace

void softmax(const Tensor& logits, const Tensor& probabilities) {
  const std::int64_t N = logits.shape()[0], K = logits.shape()[1];
  with_element_type(logits, [&]<class T>(T) {
    for (std::int64_t n = 0; n < N; ++n) {
      const T* row = logits.data<T>() + n * K;
      const double log_sum = log_sum_exp(row, K);
      for (std::int64_t k = 0; k < K; ++k) {
        probabilities.data<T>()[n * K + k] = static_cast<T>(std::exp(double(row[k]) - log_sum));
      }
    }
  });
}

void softmax_cross_entropy(const SoftmaxCrossEntropy& call) {
  with_element_type(call.logits, [&]<class T>(T) { cross_entropy<T>(call); });
}

void sgd_step(const SgdStep& call) {
  for (const SgdStep::Parameter& parameter : call.parameters) {
    with_element_type(parameter.value, [&]<class T>(T) { sgd<T>(call, parameter); });
  }
}

void adamw_step(const AdamWStep& call) {
  for (const AdamWStep::Parameter& parameter : call.parameters) {
    with_element_type(parameter.value, [&]<class T>(T) { adamw<T>(call, parameter); });
  }
}

void average_step(const AverageStep& call) {
  for (const AverageStep::Parameter& parameter : call.parameters) {
    with_element_type(parameter.value, [&]<class T>(T) { average<T>(parameter, call.decay); });
  }
}

void augment(const Augment& call) {
  const std::int64_t H = call.x.shape()[1], W = call.x.shape()[2], C = call.x.shape()[3];
  with_element_type(call.x, [&]<class T>(T) {
    T* x = call.x.data<T>();
    for (std::int64_t b = 0; b < call.x.shape()[0]; ++b) {
      const std::int32_t* draw = call.draws.data<std::int32_t>() + 6 * (call.first + b);
      const std::int64_t image = draw[0], row = draw[1], column = draw[2], top = draw[4], left = draw[5];
      const bool flip = draw[3] != 0;
      if (call.labels.defined()) {
        call.labels.data<std::int32_t>()[b] = call.image_labels.data<std::int32_t>()[image];
      }
      for (std::int64_t h = 0; h < H; ++h) {
        for (std::int64_t w = 0; w < W; ++w) {
          const std::int64_t from_row = reflect(h + row, H);
          const std::int64_t from_column = reflect((flip ? W - 1 - w : w) + column, W);
          const bool cut = h >= top && h < top + call.cutout && w >= left && w < left + call.cutout;
          const std::uint8_t* from = call.images.data<std::uint8_t>() + ((image * H + from_row) * W + from_column) * C;
          for (std::int64_t c = 0; c < C; ++c) {
            const double offset = call.offset.data<T>()[(h * W + w) * C + c];
            const double colour = double(from[c]) * double(call.scale.data<T>()[c]) - offset;
            x[((b * H + h) * W + w) * C + c] = cut ? T(0) : static_cast<T>(colour);
          }
        }
      }
    }
  });
}

void accumulate_moments(const AccumulateMoments& call) {
  const std::int64_t N = call.features.shape()[0], P = call.features.shape()[1];
  with_element_type(call.features, [&]<class T>(T) {
    for (std::int64_t n = 0; n < N; ++n) {
      const T* x = call.features.data<T>() + n * P;
      const std::int64_t label = call.labels.data<std::int32_t>()[n];
      const bool known = label >= 0 && label < call.class_counts.count();
      if (known) call.class_counts.data<double>()[label] += 1.0;
      for (std::int64_t i = 0; i < P; ++i) {
        call.sum.data<double>()[i] += double(x[i]);
        if (known) call.class_sums.data<double>()[label * P + i] += double(x[i]);
        for (std::int64_t j = 0; j < P; ++j) call.products.data<double>()[i * P + j] += double(x[i]) * double(x[j]);
      }
    }
  });
}

}  // namespace stagewise::reference
