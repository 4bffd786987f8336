// Sums of features, of their products and by class, in double. One work item is a few rows of the product matrix, which
// stay in cache while the batch's images pass by in order.
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {

void CpuBackend::accumulate_moments(const AccumulateMoments& call) {
  constexpr std::int64_t kRowsAtOnce = 8;
  const std::int64_t images = call.features.shape()[0], features = call.features.shape()[1];
  const std::int64_t classes = call.class_counts.count();
  const std::vector<double> x(call.features.data<float>(), call.features.data<float>() + images * features);
  const std::int32_t* const labels = call.labels.data<std::int32_t>();
  const auto known = [=](std::int64_t image) { return labels[image] >= 0 && labels[image] < classes; };
  pool_.run((features + kRowsAtOnce - 1) / kRowsAtOnce, [&](std::int64_t item) {
    const std::int64_t first = item * kRowsAtOnce, last = std::min(features, first + kRowsAtOnce);
    for (std::int64_t image = 0; image < images; ++image) {
      const double* const of_image = x.data() + image * features;
      for (std::int64_t row = first; row < last; ++row) {
        kernels_.axpy_double(of_image[row], of_image, call.products.data<double>() + row * features, features);
        call.sum.data<double>()[row] += of_image[row];
        if (known(image)) call.class_sums.data<double>()[labels[image] * features + row] += of_image[row];
      }
    }
  });
  for (std::int64_t image = 0; image < images; ++image) {
    if (known(image)) call.class_counts.data<double>()[labels[image]] += 1.0;
  }
}

}  // namespace stagewise::cpu
