#include "layers/cost.h"

#include <algorithm>

#include "layers/convolution.h"

namespace stagewise {
namespace {

struct Image {
  std::int64_t height, width;
};

Image output_of(const ConvolutionOptions& options, const Image& image) {
  const Conv2dOptions padding = padded(options);
  return {padding.output_size(image.height, options.filter), padding.output_size(image.width, options.filter)};
}

Cost convolution_cost(const ConvolutionOptions& options, const Image& image) {
  const std::int64_t weights = options.width * options.filter * options.filter * options.in_width;
  const Image output = output_of(options, image);
  Cost cost;
  cost.trainable = weights + (options.paper ? options.width : 0) + (options.batch_norm ? 2 * options.width : 0);
  cost.running_statistics = options.batch_norm ? 2 * options.width : 0;
  cost.macs = weights * output.height * output.width;
  return cost;
}

/// Calls visit(stage, options, image) for every convolution on its way through the network; the stem's stage is -1.
template <class Visit>
void for_each_convolution(const Architecture& architecture, const Visit& visit) {
  const bool paper = architecture.variant == Variant::paper;
  Image image{architecture.height, architecture.width};
  std::int64_t width = architecture.stages.front().width;
  visit(-1, ConvolutionOptions{architecture.channels, width, 3, 1, paper, true}, image);
  for (std::size_t stage = 0; stage < architecture.stages.size(); ++stage) {
    const std::int64_t out = architecture.stages[stage].width;
    for (std::size_t block = 0; block < architecture.stages[stage].blocks.size(); ++block) {
      const std::int64_t stride = block == 0 && stage > 0 ? 2 : 1;
      const ConvolutionOptions conv1{width, out, 3, stride, paper, true};
      const auto index = static_cast<std::int64_t>(stage);
      visit(index, conv1, image);
      if (stride != 1 || width != out) visit(index, ConvolutionOptions{width, out, 1, stride, paper, !paper}, image);
      image = output_of(conv1, image);
      visit(index, ConvolutionOptions{out, out, 3, 1, paper, true}, image);
      width = out;
    }
  }
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
  NetworkCost cost;
  cost.stages.resize(architecture.stages.size());
  for_each_convolution(architecture, [&](std::int64_t stage, const ConvolutionOptions& options, const Image& image) {
    (stage < 0 ? cost.stem : cost.stages[static_cast<std::size_t>(stage)]) += convolution_cost(options, image);
  });
  const std::int64_t width = architecture.stages.back().width;
  cost.classifier.trainable = (width + 1) * architecture.classes;
  cost.classifier.macs = width * architecture.classes;
  return cost;
}

std::vector<NetworkConvolution> convolutions_of(const Architecture& architecture) {
  std::vector<NetworkConvolution> all;
  for_each_convolution(architecture, [&](std::int64_t, const ConvolutionOptions& options, const Image& image) {
    const NetworkConvolution convolution{{1, image.height, image.width, options.in_width},
                                         {options.width, options.filter, options.filter, options.in_width},
                                         padded(options)};
    const auto same = std::find_if(all.begin(), all.end(), [&](const NetworkConvolution& other) {
      return other.x == convolution.x && other.weight == convolution.weight && other.options == convolution.options;
    });
    if (same == all.end()) {
      all.push_back(convolution);
    } else {
      ++same->count;
    }
  });
  return all;
}

}  // namespace stagewise
