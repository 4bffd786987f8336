#include "layers/convolution.h"
#include "layers/stage.h"

namespace stagewise {

void ResidualBlock::visit(const std::string& prefix, const Visitor& visitor) const {
  visit_convolution(parameters.conv1, prefix + ".conv1", prefix + ".batch_norm1", visitor);
  visit_convolution(parameters.conv2, prefix + ".conv2", prefix + ".batch_norm2", visitor);
  if (!parameters.projection.weight.defined()) return;
  visit_convolution(parameters.projection, prefix + ".projection", prefix + ".projection_batch_norm", visitor);
}

ResidualBlock make_residual_block(const Initialiser& initialiser, const StageOptions& options, std::int64_t number,
                                  bool first) {
  const std::string name = options.block_name(number);
  ConvolutionOptions convolution;
  convolution.in_width = first ? options.in_width : options.width;
  convolution.width = options.width;
  convolution.stride = first ? options.stride : 1;
  convolution.paper = options.paper;
  ResidualBlock block;
  block.number = number;
  block.parameters.conv1 = make_convolution(initialiser, name + ".conv1", convolution);
  if (convolution.stride != 1 || convolution.in_width != convolution.width) {
    ConvolutionOptions projection = convolution;
    projection.filter = 1;
    projection.batch_norm = !options.paper;
    block.parameters.projection = make_convolution(initialiser, name + ".projection", projection);
  }
  convolution.in_width = options.width;
  convolution.stride = 1;
  block.parameters.conv2 = make_convolution(initialiser, name + ".conv2", convolution);
  return block;
}

}  // namespace stagewise
