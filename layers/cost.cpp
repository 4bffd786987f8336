#include "layers/cost.h"

#include "layers/convolution.h"

namespace stagewise {
namespace {

struct Image {
  std::int64_t height, width;
};

Cost convolution_cost(const ConvolutionOptions& options, const Image& image) {
  const Conv2dOptions padding = padded(options);
  const std::int64_t weights = options.width * options.filter * options.filter * options.in_width;
  Cost cost;
  cost.trainable = weights + (options.paper ? options.width : 0) + (options.batch_norm ? 2 * options.width : 0);
  cost.running_statistics = options.batch_norm ? 2 * options.width : 0;
  cost.macs =
      weights * padding.output_size(image.height, options.filter) * padding.output_size(image.width, options.filter);
  return cost;
}

Cost block_cost(std::int64_t in_width, std::int64_t width, std::int64_t stride, bool paper, Image& image) {
  const ConvolutionOptions conv1{in_width, width, 3, stride, paper, true};
  Cost cost = convolution_cost(conv1, image);
  if (stride != 1 || in_width != width) cost += convolution_cost({in_width, width, 1, stride, paper, !paper}, image);
  image = {padded(conv1).output_size(image.height, 3), padded(conv1).output_size(image.width, 3)};
  cost += convolution_cost({width, width, 3, 1, paper, true}, image);
  return cost;
}

}  // namespace

Cost& Cost::operator+=(const Cost& other) {
  trainable += other.trainable;
  running_statistics += other.running_statistics;
  macs += other.macs;
  return *this;
}

Cost NetworkCost::total() const {
  Cost sum = stem;
  for (const Cost& stage : stages) sum += stage;
  sum += classifier;
  return sum;
}

NetworkCost cost_of(const Architecture& architecture) {
  const bool paper = architecture.variant == Variant::paper;
  Image image{architecture.height, architecture.width};
  NetworkCost cost;
  std::int64_t width = architecture.stages.front().width;
  cost.stem = convolution_cost({architecture.channels, width, 3, 1, paper, true}, image);
  for (const Architecture::StageBlocks& stage : architecture.stages) {
    Cost sum;
    for (std::size_t block = 0; block < stage.blocks.size(); ++block) {
      const std::int64_t stride = block == 0 && !cost.stages.empty() ? 2 : 1;
      sum += block_cost(width, stage.width, stride, paper, image);
      width = stage.width;
    }
    cost.stages.push_back(sum);
  }
  cost.classifier.trainable = (width + 1) * architecture.classes;
  cost.classifier.macs = width * architecture.classes;
  return cost;
}

}  // namespace stagewise
