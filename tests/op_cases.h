// Every differentiable op once, with the shapes it is tried on. The table drives the gradient checks, the comparison of
// the fast backend with the reference, and the test that the number of threads doesn't change a bit.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "autograd/functions.h"
#include "autograd/gradient_check.h"
#include "tensor/random.h"

namespace stagewise::op_cases {

struct OpCase {
  std::string name;
  std::vector<Shape> inputs;
  DifferentiableFunction function;
  std::int64_t reduction = 1;  // the longest sum behind an element of the output or of a gradient: sets the tolerance
  bool differences = true;     // whether central differences can be taken: among thousands of ReLUs one always switches
};

/// How GoogleTest shows a case.
inline void PrintTo(const OpCase& op, std::ostream* out) { *out << op.name; }

/// The inputs' elements, uniform in [-1,1]; the same for every backend.
inline std::vector<double> input_values(const Shape& shape, std::size_t input) {
  const Random random(3, stream_of("op case", input, static_cast<std::uint64_t>(shape.count())));
  std::vector<double> values(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 2.0 * random.uniform(i) - 1.0;
  return values;
}

inline Tensor like(const Variable& variable, const Shape& shape, double value) {
  return Tensor::full(variable.value().backend(), shape, value, variable.value().dtype());
}

inline BatchNormParameters batch_norm_parameters(const Variable& weight, const Variable& bias) {
  return {.weight = weight,
          .bias = bias,
          .running_mean = like(weight, weight.shape(), 0.0),
          .running_variance = like(weight, weight.shape(), 1.0)};
}

struct ConvolutionSize {
  std::int64_t images, height, width, channels, filters, rows, columns;
  Conv2dOptions options;
  std::string name() const {
    return concat("n", images, "_", height, "x", width, "x", channels, "_k", filters, "_", rows, "x", columns, "_s",
                  options.stride, "_p", options.padding_before, options.padding_after);
  }
  std::int64_t reduction() const {
    return std::max(rows * columns * std::max(channels, filters), images * height * width);
  }
};

inline OpCase convolution_case(const ConvolutionSize& size, bool with_bias) {
  std::vector<Shape> inputs = {{size.images, size.height, size.width, size.channels},
                               {size.filters, size.rows, size.columns, size.channels}};
  if (with_bias) inputs.push_back({size.filters});
  return {"conv2d_" + size.name() + (with_bias ? "_bias" : ""), inputs,
          [=](const Context& context, const std::vector<Variable>& in) {
            return conv2d(context, in[0], in[1], with_bias ? in[2] : Variable(), size.options);
          },
          size.reduction()};
}

inline OpCase batch_norm_case(const Shape& shape, bool with_relu, bool with_addend) {
  std::vector<Shape> inputs = {shape, {shape[3]}, {shape[3]}};
  if (with_addend) inputs.push_back(shape);
  return {concat("batch_norm_", shape, with_relu ? "_relu" : "", with_addend ? "_add" : ""), inputs,
          [=](const Context& context, const std::vector<Variable>& in) {
            return batch_norm(context, in[0], batch_norm_parameters(in[1], in[2]), with_relu,
                              with_addend ? in[3] : Variable());
          },
          shape.count() / shape[3]};
}

/// How a block's skip is made.
enum class Skip { identity, projection, paper };

/// The parameters of a residual block from a case's inputs: x, then conv1's, conv2's and the projection's tensors.
inline ResidualBlockParameters block_parameters(const std::vector<Variable>& in, std::int64_t stride, Skip skip) {
  const bool paper = skip == Skip::paper;
  const Conv2dOptions strided = paper && stride == 2 ? Conv2dOptions{2, 0, 1} : Conv2dOptions{stride, 1, 1};
  std::size_t next = 1;
  const auto take = [&](const Conv2dOptions& options, bool normalised) {
    ConvolutionParameters parameters;
    parameters.options = options;
    parameters.weight = in[next++];
    if (paper) parameters.bias = in[next++];
    if (!normalised) return parameters;
    parameters.batch_norm = batch_norm_parameters(in[next], in[next + 1]);
    next += 2;
    return parameters;
  };
  ResidualBlockParameters parameters;
  parameters.conv1 = take(strided, true);
  parameters.conv2 = take({1, 1, 1}, true);
  if (skip != Skip::identity) parameters.projection = take({stride, 0, 0}, !paper);
  return parameters;
}

inline std::vector<Shape> block_inputs(const Shape& x, std::int64_t width, Skip skip) {
  std::vector<Shape> inputs = {x};
  const auto add = [&](const Shape& filter, bool normalised) {
    inputs.push_back(filter);
    if (skip == Skip::paper) inputs.push_back({width});
    if (!normalised) return;
    inputs.push_back({width});
    inputs.push_back({width});
  };
  add({width, 3, 3, x[3]}, true);
  add({width, 3, 3, width}, true);
  if (skip != Skip::identity) add({width, 1, 1, x[3]}, skip == Skip::projection);
  return inputs;
}

inline OpCase block_case(const Shape& x, std::int64_t width, std::int64_t stride, Skip skip) {
  const char* const names[] = {"identity", "projection", "paper"};
  return {concat("residual_block_", x, "_to", width, "_s", stride, "_", names[static_cast<int>(skip)]),
          block_inputs(x, width, skip),
          [=](const Context& context, const std::vector<Variable>& in) {
            return residual_block(context, in[0], block_parameters(in, stride, skip));
          },
          9 * width + x[0] * x[1] * x[2], x.count() < 1000};
}

/// What becomes of a first block's output: another block, or a convolution, whose ways back go ahead through its ReLU;
/// or two uses, of which neither has the whole gradient.
enum class Then { block, strided_block, paper_block, convolution, both };

/// A residual block on relu(batch_norm(x)), as behind the stem, and what comes after it. Inputs: x, the batch norm's
/// two, the first block's tensors, then the second's or a filter.
inline OpCase chain_case(const Shape& x, Then then) {
  const char* const names[] = {"block", "strided_block", "paper_block", "convolution", "both"};
  const Skip skip = then == Then::strided_block ? Skip::projection
                    : then == Then::paper_block ? Skip::paper
                                                : Skip::identity;
  const std::int64_t channels = x[3], stride = skip == Skip::identity ? 1 : 2;
  std::vector<Shape> inputs = block_inputs(x, channels, Skip::identity);
  const auto first = static_cast<std::ptrdiff_t>(inputs.size());
  const std::vector<Shape> second = block_inputs(x, skip == Skip::identity ? channels : 2 * channels, skip);
  inputs.insert(inputs.end(), second.begin() + 1, then == Then::convolution ? second.begin() + 2 : second.end());
  inputs.insert(inputs.end(), {{channels}, {channels}});
  return {concat("chain_", x, "_", names[static_cast<int>(then)]), inputs,
          [=](const Context& context, const std::vector<Variable>& in) {
            const std::size_t last = in.size();
            const Variable stem =
                batch_norm(context, in[0], batch_norm_parameters(in[last - 2], in[last - 1]), /*with_relu=*/true);
            const Variable block = residual_block(context, stem, block_parameters(in, 1, Skip::identity));
            if (then == Then::convolution) {
              return conv2d(context, block, in[static_cast<std::size_t>(first)], {}, {1, 1, 1});
            }
            std::vector<Variable> rest = {block};
            rest.insert(rest.end(), in.begin() + first, in.end());
            const Variable y = residual_block(context, block, block_parameters(rest, stride, skip));
            return then == Then::both ? add(context, y, block) : y;
          },
          9 * channels + x[0] * x[1] * x[2], x.count() < 1000};
}

/// A residual block of any kind: `inner` filters in all convolutions but a bottleneck's last, whose are four times that.
struct AnyBlock {
  bool pre_activation = false, bottleneck = false;
  Shape x;
  std::int64_t inner = 1, stride = 1;
  bool pads = false;  // where the shape changes; else it projects

  std::int64_t out() const { return bottleneck ? 4 * inner : inner; }
  bool changes() const { return stride != 1 || x[3] != out(); }
  std::string name() const {
    return concat(pre_activation ? "pre_activation_block_" : "residual_block_", bottleneck ? "bottleneck_" : "", x,
                  "_to", out(), "_s", stride, changes() ? pads ? "_padding" : "_projection" : "");
  }

  /// Asks take(filter, options) for each convolution, in the order of the inputs, and norm(channels) for each batch norm.
  template <class Take, class Norm>
  ResidualBlockParameters walk(const Take& take, const Norm& norm) const {
    ResidualBlockParameters made;
    if (pre_activation) made.pre_activation = norm(x[3]);
    const auto convolution = [&](const Shape& filter, const Conv2dOptions& options, bool normalised) {
      ConvolutionParameters one;
      one.weight = take(filter);
      one.options = options;
      if (normalised) one.batch_norm = norm(filter[0]);
      return one;
    };
    const bool last = !pre_activation;  // has a batch norm behind it
    const Conv2dOptions strided{stride, 1, 1};
    if (bottleneck) {
      made.conv1 = convolution({inner, 1, 1, x[3]}, {}, true);
      made.conv2 = convolution({inner, 3, 3, inner}, strided, true);
      made.conv3 = convolution({out(), 1, 1, inner}, {}, last);
    } else {
      made.conv1 = convolution({inner, 3, 3, x[3]}, strided, true);
      made.conv2 = convolution({inner, 3, 3, inner}, {1, 1, 1}, last);
    }
    if (changes() && pads) made.padding = {stride, (out() - x[3]) / 2, out()};
    if (changes() && !pads) made.projection = convolution({out(), 1, 1, x[3]}, {stride, 0, 0}, last);
    return made;
  }
  std::vector<Shape> inputs() const {
    std::vector<Shape> shapes = {x};
    walk(
        [&](const Shape& filter) {
          shapes.push_back(filter);
          return Variable();
        },
        [&](std::int64_t channels) {
          shapes.push_back({channels});
          shapes.push_back({channels});
          return BatchNormParameters();
        });
    return shapes;
  }
  ResidualBlockParameters parameters(const std::vector<Variable>& in, std::size_t first = 1) const {
    return walk([&](const Shape&) { return in[first++]; },
                [&](std::int64_t) {
                  first += 2;
                  return batch_norm_parameters(in[first - 2], in[first - 1]);
                });
  }
  Variable run(const Context& context, const Variable& input, const ResidualBlockParameters& of) const {
    return pre_activation ? pre_activation_block(context, input, of) : residual_block(context, input, of);
  }
};

inline OpCase any_block_case(const AnyBlock& block) {
  return {block.name(), block.inputs(),
          [=](const Context& context, const std::vector<Variable>& in) {
            return block.run(context, in[0], block.parameters(in));
          },
          9 * block.out() + block.x[0] * block.x[1] * block.x[2], block.x.count() < 1000};
}

/// One pre-activation block behind another, which reads the moments that the first one gathered, and the batch norm at the
/// end.
inline OpCase pre_activation_chain_case(const AnyBlock& first, const AnyBlock& second) {
  std::vector<Shape> inputs = first.inputs();
  const std::size_t begin = inputs.size();
  const std::vector<Shape> more = second.inputs();
  inputs.insert(inputs.end(), more.begin() + 1, more.end());
  inputs.insert(inputs.end(), {{second.out()}, {second.out()}});
  return {concat("chain_of_", first.name(), "_and_", second.name()), inputs,
          [=](const Context& context, const std::vector<Variable>& in) {
            const Variable x = first.run(context, in[0], first.parameters(in));
            const Variable y = second.run(context, x, second.parameters(in, begin));
            return batch_norm(context, y, batch_norm_parameters(in[in.size() - 2], in.back()), /*with_relu=*/true);
          },
          9 * second.out() + first.x[0] * first.x[1] * first.x[2], first.x.count() < 1000};
}

inline std::vector<OpCase> more_block_cases() {
  std::vector<OpCase> cases;
  for (const bool pre_activation : {false, true}) {
    const auto put = [&](bool bottleneck, const Shape& x, std::int64_t inner, std::int64_t stride, bool pads) {
      cases.push_back(any_block_case({pre_activation, bottleneck, x, inner, stride, pads}));
    };
    put(true, {2, 4, 5, 8}, 2, 1, false);
    put(true, {2, 5, 6, 3}, 2, 2, false);
    put(true, {2, 3, 4, 5}, 3, 1, true);
    put(true, {2, 8, 8, 64}, 16, 1, false);
    put(true, {2, 8, 8, 64}, 32, 2, false);
    put(false, {2, 5, 4, 3}, 5, 2, true);
    put(false, {2, 16, 16, 16}, 32, 2, true);
    if (!pre_activation) continue;
    put(false, {2, 4, 5, 3}, 3, 1, false);
    put(false, {1, 7, 3, 17}, 17, 1, false);
    put(false, {2, 6, 5, 3}, 5, 2, false);
    put(false, {2, 16, 16, 32}, 32, 1, false);
    put(false, {2, 16, 16, 16}, 32, 2, false);
  }
  for (const bool bottleneck : {false, true}) {
    for (const Shape& x : {Shape{2, 5, 4, 4}, Shape{2, 16, 16, 32}}) {
      const AnyBlock first{true, bottleneck, x, x[3] / 2, 1, false};
      const Shape between{x[0], x[1], x[2], first.out()};
      cases.push_back(pre_activation_chain_case(first, {true, bottleneck, between, x[3] / 2, 1, false}));
    }
  }
  return cases;
}

inline std::vector<OpCase> convolution_cases() {
  std::vector<OpCase> cases;
  const std::vector<ConvolutionSize> sizes = {
      {1, 1, 1, 1, 1, 1, 1, {}},
      {1, 1, 1, 1, 1, 3, 3, {1, 1, 1}},
      {2, 5, 7, 3, 5, 3, 3, {1, 1, 1}},
      {3, 4, 4, 5, 3, 1, 1, {}},
      {1, 9, 5, 17, 33, 3, 3, {1, 1, 1}},
      {2, 6, 6, 4, 8, 3, 3, {2, 1, 1}},
      {2, 7, 5, 3, 17, 3, 3, {2, 0, 1}},
      {1, 8, 8, 5, 4, 1, 1, {2, 0, 0}},
      {2, 9, 8, 3, 4, 5, 5, {1, 2, 2}},
      {1, 10, 7, 3, 2, 3, 3, {3, 1, 0}},
      {1, 6, 6, 3, 3, 3, 3, {}},
      {2, 5, 6, 8, 9, 2, 3, {2, 1, 2}},
      {1, 70, 40, 2, 3, 3, 3, {1, 1, 1}},
      {1, 3, 200, 1, 1, 3, 3, {1, 1, 1}},
      // The networks' own: the stem, the three stages, the strided ones and the projections.
      {2, 32, 32, 3, 16, 3, 3, {1, 1, 1}},
      {2, 32, 32, 16, 16, 3, 3, {1, 1, 1}},
      {2, 16, 16, 32, 32, 3, 3, {1, 1, 1}},
      {3, 8, 8, 64, 64, 3, 3, {1, 1, 1}},
      {2, 32, 32, 16, 32, 3, 3, {2, 1, 1}},
      {2, 16, 16, 32, 64, 3, 3, {2, 0, 1}},
      {2, 32, 32, 16, 32, 1, 1, {2, 0, 0}},
      {2, 16, 16, 32, 64, 1, 1, {2, 0, 0}},
      // The ImageNet stem, and what lies around it in size.
      {1, 7, 7, 3, 2, 7, 7, {2, 3, 3}},
      {2, 40, 37, 3, 64, 7, 7, {2, 3, 3}},
      {1, 5, 9, 4, 20, 7, 7, {1, 3, 3}}};
  for (std::size_t i = 0; i < sizes.size(); ++i) cases.push_back(convolution_case(sizes[i], i % 2 == 0));
  return cases;
}

/// Small shapes first; all are small enough for the reference.
inline std::vector<OpCase> all_op_cases() {
  std::vector<OpCase> cases = convolution_cases();
  const auto put = [&](std::string name, std::vector<Shape> inputs, DifferentiableFunction function,
                       std::int64_t reduction = 1) {
    cases.push_back({std::move(name), std::move(inputs), std::move(function), reduction});
  };
  for (const Shape& shape : {Shape{1}, Shape{3, 7}, Shape{2, 5, 3, 17}, Shape{2, 32, 32, 16}}) {
    put(concat("add_", shape), {shape, shape},
        [](const Context& context, const std::vector<Variable>& in) { return add(context, in[0], in[1]); });
    put(concat("add_to_itself_", shape), {shape},
        [](const Context& context, const std::vector<Variable>& in) { return add(context, in[0], in[0]); });
    put(concat("relu_", shape), {shape},
        [](const Context& context, const std::vector<Variable>& in) { return relu(context, in[0]); });
  }
  for (const Shape& shape : {Shape{1, 2, 1, 1}, Shape{3, 1, 1, 5}, Shape{2, 5, 3, 17}, Shape{2, 7, 7, 33},
                             Shape{2, 16, 16, 32}, Shape{1, 65, 33, 3}}) {
    for (const bool with_relu : {false, true}) {
      for (const bool with_addend : {false, true}) cases.push_back(batch_norm_case(shape, with_relu, with_addend));
    }
  }
  for (const auto& [rows, in_size, out_size] :
       {std::array<std::int64_t, 3>{1, 1, 1}, {3, 5, 7}, {2, 64, 10}, {17, 33, 3}}) {
    put(
        concat("linear_", rows, "x", in_size, "_to", out_size), {{rows, in_size}, {out_size, in_size}, {out_size}},
        [](const Context& context, const std::vector<Variable>& in) { return linear(context, in[0], in[1], in[2]); },
        std::max(rows, in_size));
  }
  put("linear_without_bias", {{3, 5}, {7, 5}},
      [](const Context& context, const std::vector<Variable>& in) { return linear(context, in[0], in[1], {}); });
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{2, 5, 7, 3}, Shape{3, 8, 8, 64}, Shape{1, 9, 6, 17}}) {
    put(
        concat("global_average_pool_", shape), {shape},
        [](const Context& context, const std::vector<Variable>& in) { return global_average_pool(context, in[0]); },
        shape[1] * shape[2]);
    if (shape[1] < 2) continue;
    put(concat("average_pool_2x3_", shape), {shape},
        [](const Context& context, const std::vector<Variable>& in) { return average_pool(context, in[0], 2, 3); });
  }
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{2, 5, 7, 3}, Shape{1, 16, 12, 33}, Shape{2, 3, 2, 17}}) {
    for (const Conv2dOptions& options : {Conv2dOptions{2, 1, 1}, {1, 1, 1}, {2, 0, 1}, {3, 2, 1}}) {
      if (shape[1] + options.padding_before + options.padding_after < 3) continue;
      put(concat("max_pool_", shape, "_s", options.stride, "_p", options.padding_before, options.padding_after),
          {shape}, [=](const Context& context, const std::vector<Variable>& in) {
            return max_pool(context, in[0], 3, options);
          });
    }
    for (const std::int64_t stride : {1, 2}) {
      put(concat("padded_shortcut_", shape, "_s", stride), {shape},
          [=](const Context& context, const std::vector<Variable>& in) {
            return padded_shortcut(context, in[0], stride, shape[3] / 2, 2 * shape[3] + 1);
          });
    }
  }
  for (const auto& [rows, classes] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {1, 2}, {5, 10}, {33, 17}}) {
    for (const double smoothing : {0.0, 0.1}) {
      put(
          concat("softmax_cross_entropy_", rows, "x", classes, smoothing > 0 ? "_smoothed" : ""), {{rows, classes}},
          [=, rows = rows, classes = classes](const Context& context, const std::vector<Variable>& in) {
            std::vector<std::int32_t> labels(static_cast<std::size_t>(rows));
            for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i * 3 % classes);
            return softmax_cross_entropy(context, in[0], Tensor::from_host(in[0].value().backend(), {rows}, labels),
                                         smoothing);
          },
          classes);
    }
  }
  cases.push_back(block_case({2, 4, 5, 3}, 3, 1, Skip::identity));
  cases.push_back(block_case({1, 7, 3, 17}, 17, 1, Skip::identity));
  cases.push_back(block_case({2, 6, 5, 3}, 5, 2, Skip::projection));
  cases.push_back(block_case({2, 6, 6, 4}, 8, 2, Skip::paper));
  cases.push_back(block_case({2, 5, 5, 3}, 3, 1, Skip::paper));
  cases.push_back(block_case({2, 3, 4, 5}, 6, 1, Skip::projection));
  cases.push_back(block_case({2, 32, 32, 16}, 16, 1, Skip::identity));
  cases.push_back(block_case({2, 16, 16, 16}, 32, 2, Skip::projection));
  cases.push_back(block_case({2, 16, 16, 16}, 32, 2, Skip::paper));
  for (const Then then : {Then::block, Then::strided_block, Then::paper_block, Then::convolution, Then::both}) {
    for (const Shape& x : {Shape{2, 4, 6, 3}, Shape{2, 16, 16, 32}}) cases.push_back(chain_case(x, then));
  }
  for (OpCase& block : more_block_cases()) cases.push_back(std::move(block));
  return cases;
}

}  // namespace stagewise::op_cases
