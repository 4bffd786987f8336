// Every primitive of the backend once, with the shapes it is tried on. One table drives the comparison of the fast
// backends with the reference and the benches (bench/primitives.cpp).
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "tensor/backend.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace stagewise::primitive_cases {

/// A primitive with its tensors on one backend.
struct Call {
  std::function<void()> run;
  std::vector<Tensor> outputs;
};

/// Elements of the tensors that must be read or written, each once.
struct Traffic {
  double maps = 0;   // of feature maps
  double other = 0;  // in bytes
  double bytes(DType type_of_maps) const { return maps * static_cast<double>(size_of(type_of_maps)) + other; }
};

struct PrimitiveCase {
  std::string name;  // the primitive, then the shape: `convolution_forward/n128_32x32x16_k16_3x3_s1`
  double flops = 0;  // multiplications and additions of the formula, whatever the algorithm; not those with padding
  Traffic traffic;
  std::function<Call(Backend&, DType maps)> make;  // feature maps stored as `maps`
  std::int64_t reduction = 1;                      // the longest sum behind an element of an output: sets the tolerance
};

/// How GoogleTest shows a case.
inline void PrintTo(const PrimitiveCase& primitive, std::ostream* out) { *out << primitive.name; }

/// Elements uniform in [low, high], the same on every backend, and numbers that bfloat16 can store.
inline Tensor uniform(Backend& backend, const Shape& shape, std::uint64_t stream, double low = -1.0, double high = 1.0,
                      DType dtype = DType::float32) {
  const Random random(9, stream);
  std::vector<double> values(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<double>(BFloat16(low + (high - low) * random.uniform(i)));
  }
  return Tensor::from_doubles(backend, shape, values, dtype);
}
inline Tensor map(Backend& backend, const Shape& shape, std::uint64_t stream, DType dtype) {
  return uniform(backend, shape, stream, -1.0, 1.0, dtype);
}

inline BatchNormCoefficients coefficients(Backend& backend, std::int64_t channels, std::uint64_t stream) {
  return {uniform(backend, {channels}, stream), uniform(backend, {channels}, stream + 1, 0.5, 2.0),
          uniform(backend, {channels}, stream + 2), uniform(backend, {channels}, stream + 3)};
}

/// Of moments that are given or yet to be gathered, with running statistics.
inline BatchNormPrepare preparation(Backend& backend, const Tensor& mean, const Tensor& variance, std::int64_t pixels) {
  const Shape& channels = mean.shape();
  return {.mean = mean,
          .variance = variance,
          .weight = uniform(backend, channels, 53),
          .inverse_deviation = Tensor(backend, channels),
          .scale = Tensor(backend, channels),
          .running_mean = uniform(backend, channels, 54),
          .running_variance = uniform(backend, channels, 55, 0.5, 2.0),
          .pixels = pixels};
}

inline Tensor labels(Backend& backend, std::int64_t count, std::int64_t classes) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<std::int32_t>(i * 7 % static_cast<std::size_t>(classes));
  return Tensor::from_host(backend, {count}, values);
}

struct ConvolutionSize {
  std::int64_t images, height, width, channels, filters, rows, columns;
  Conv2dOptions options;

  Shape input() const { return {images, height, width, channels}; }
  Shape filter() const { return {filters, rows, columns, channels}; }
  Shape output() const { return convolution_output(input(), filter(), options); }
  /// Two for each multiplication with a pixel; the padding's zeros don't count, since no kernel has to multiply by them.
  double flops() const {
    const Shape y = output();
    return 2.0 * static_cast<double>(images * filters * channels * taps_inside(y[1], rows, height) *
                                     taps_inside(y[2], columns, width));
  }
  /// Over all output rows (or columns): how many of the filter's rows lie on the image.
  std::int64_t taps_inside(std::int64_t outputs, std::int64_t filter_size, std::int64_t size) const {
    std::int64_t taps = 0;
    for (std::int64_t out = 0; out < outputs; ++out) {
      const std::int64_t first = out * options.stride - options.padding_before;
      taps += std::max<std::int64_t>(0, std::min(first + filter_size, size) - std::max<std::int64_t>(first, 0));
    }
    return taps;
  }
  Traffic traffic(int inputs, int outputs) const {
    return {static_cast<double>(inputs * input().count() + outputs * output().count()),
            4.0 * static_cast<double>(filter().count())};
  }
  std::string name() const {
    return concat("n", images, "_", height, "x", width, "x", channels, "_k", filters, "_", rows, "x", columns, "_s",
                  options.stride, options.padding_before == options.padding_after ? "" : "_keras");
  }
};

/// As for a pass through a network.
inline Tensor prepared_filter(Backend& backend, const Tensor& weight, DType maps) {
  const std::vector<Tensor> prepared = backend.prepare_filters({&weight, 1}, maps);
  return prepared.empty() ? Tensor() : prepared.front();
}

inline PrimitiveCase convolution_forward(const ConvolutionSize& size, bool fused) {
  return {concat(fused ? "convolution_forward_fused/" : "convolution_forward/", size.name()), size.flops(),
          size.traffic(1, 1),
          [=](Backend& backend, DType maps) -> Call {
            ConvolutionForward pass{.x = map(backend, size.input(), 1, maps),
                                    .weight = uniform(backend, size.filter(), 2),
                                    .y = Tensor(backend, size.output(), maps),
                                    .options = size.options};
            if (!fused) return {[=, &backend] { backend.convolution_forward(pass); }, {pass.y}};
            pass.prepared = prepared_filter(backend, pass.weight, maps);
            pass.input_batch_norm = coefficients(backend, size.channels, 4);
            pass.mean = Tensor(backend, {size.filters}), pass.variance = Tensor(backend, {size.filters});
            const BatchNormPrepare& next = pass.output_batch_norm =
                preparation(backend, pass.mean, pass.variance, size.output().count() / size.filters);
            return {[=, &backend] { backend.convolution_forward(pass); },
                    {pass.y, pass.mean, pass.variance, next.inverse_deviation, next.scale, next.running_mean,
                     next.running_variance}};
          },
          size.rows* size.columns* size.channels};
}

/// As in inference: with bias, addend and ReLU, and the filter prepared.
inline PrimitiveCase convolution_inference(const ConvolutionSize& size) {
  return {concat("convolution_inference/", size.name()), size.flops(), size.traffic(1, 2),
          [=](Backend& backend, DType maps) -> Call {
            ConvolutionForward pass{.x = map(backend, size.input(), 1, maps),
                                    .weight = uniform(backend, size.filter(), 2),
                                    .bias = uniform(backend, {size.filters}, 3),
                                    .y = Tensor(backend, size.output(), maps),
                                    .options = size.options};
            pass.addend = map(backend, size.output(), 4, maps);
            pass.relu = true;
            pass.prepared = backend.convolution_prepare(size.input(), pass.weight, size.options);
            return {[=, &backend] { backend.convolution_forward(pass); }, {pass.y}};
          },
          size.rows* size.columns* size.channels};
}

/// Fused: zeroed where the ReLU was off, with the sums of the batch norm's gradients, as inside a residual block. With
/// `skip` the ReLU's input was a sum, and the gradient of the skip is added, as from one residual block to the one
/// before.
inline PrimitiveCase convolution_backward_data(const ConvolutionSize& size, bool fused, bool skip = false) {
  const char* const name = skip    ? "convolution_backward_data_fused_skip/"
                           : fused ? "convolution_backward_data_fused/"
                                   : "convolution_backward_data/";
  return {concat(name, size.name()), size.flops(),
          size.traffic(skip    ? 4
                       : fused ? 2
                               : 1,
                       1),
          [=](Backend& backend, DType maps) -> Call {
            ConvolutionBackwardData pass{.dy = map(backend, size.output(), 1, maps),
                                         .weight = uniform(backend, size.filter(), 2),
                                         .dx = Tensor(backend, size.input(), maps),
                                         .options = size.options};
            if (!fused) return {[=, &backend] { backend.convolution_backward_data(pass); }, {pass.dx}};
            pass.prepared = prepared_filter(backend, pass.weight, maps);
            pass.x = map(backend, size.input(), 3, maps);
            pass.input_batch_norm = coefficients(backend, size.channels, 10);
            pass.gradients = {Tensor(backend, {size.channels}), Tensor(backend, {size.channels})};
            if (skip) {
              pass.addend = map(backend, size.input(), 4, maps);
              pass.relu_output = map(backend, size.input(), 5, maps);
            }
            return {[=, &backend] { backend.convolution_backward_data(pass); },
                    {pass.dx, pass.gradients.weight, pass.gradients.bias}};
          },
          size.rows* size.columns* size.filters};
}

/// Fused: with the batch norm's backward on read, and the normalised input, as inside a residual block.
inline PrimitiveCase convolution_backward_weights(const ConvolutionSize& size, bool fused) {
  return {concat(fused ? "convolution_backward_weights_fused/" : "convolution_backward_weights/", size.name()),
          size.flops(), size.traffic(1, fused ? 3 : 1),
          [=](Backend& backend, DType maps) -> Call {
            ConvolutionBackwardWeights pass{.x = map(backend, size.input(), 1, maps),
                                            .dy = map(backend, size.output(), 2, maps),
                                            .d_weight = Tensor(backend, size.filter()),
                                            .options = size.options};
            if (!fused) return {[=, &backend] { backend.convolution_backward_weights(pass); }, {pass.d_weight}};
            pass.input_batch_norm = coefficients(backend, size.channels, 20);
            pass.output_batch_norm = coefficients(backend, size.filters, 30);
            pass.y = map(backend, size.output(), 3, maps);
            pass.gradients = {uniform(backend, {size.filters}, 4), uniform(backend, {size.filters}, 5)};
            pass.dy_out = Tensor(backend, size.output(), maps);
            return {[=, &backend] { backend.convolution_backward_weights(pass); }, {pass.d_weight, pass.dy_out}};
          },
          size.images* size.height* size.width};
}

inline std::vector<PrimitiveCase> batch_norm_cases(const Shape& shape) {
  const auto count = static_cast<double>(shape.count());
  const std::int64_t channels = shape[3], pixels = shape.count() / channels;
  const auto name = [&](const char* primitive) {
    return concat(primitive, "/", shape[0], "x", shape[1], "x", shape[2], "x", channels);
  };
  return {
      {name("batch_norm_moments"),
       3 * count,
       {1 * count},
       [=](Backend& backend, DType maps) -> Call {
         const Tensor x = map(backend, shape, 1, maps), mean(backend, {channels}), variance(backend, {channels});
         const BatchNormMoments pass{x, mean, variance, preparation(backend, mean, variance, pixels)};
         return {[=, &backend] { backend.batch_norm_moments(pass); },
                 {mean, variance, pass.prepare.inverse_deviation, pass.prepare.scale, pass.prepare.running_mean,
                  pass.prepare.running_variance}};
       },
       pixels},
      {name("batch_norm_forward_add_relu"),
       5 * count,
       {3 * count},
       [=](Backend& backend, DType maps) -> Call {
         const BatchNormForward pass{
             map(backend, shape, 1, maps), coefficients(backend, channels, 3), map(backend, shape, 2, maps), {}, true,
             Tensor(backend, shape, maps)};
         return {[=, &backend] { backend.batch_norm_forward(pass); }, {pass.y}};
       }},
      {name("batch_norm_backward_reduce"),
       5 * count,
       {4 * count},
       [=](Backend& backend, DType maps) -> Call {
         const BatchNormBackwardReduce pass{
             map(backend, shape, 1, maps), map(backend, shape, 2, maps),
             map(backend, shape, 3, maps), coefficients(backend, channels, 4),
             Tensor(backend, shape, maps), {Tensor(backend, {channels}), Tensor(backend, {channels})}};
         return {[=, &backend] { backend.batch_norm_backward_reduce(pass); },
                 {pass.dz, pass.gradients.weight, pass.gradients.bias}};
       },
       pixels},
      {name("batch_norm_backward_data"),
       4 * count,
       {3 * count},
       [=](Backend& backend, DType maps) -> Call {
         const BatchNormBackwardData pass{map(backend, shape, 1, maps),
                                          map(backend, shape, 2, maps),
                                          coefficients(backend, channels, 3),
                                          {uniform(backend, {channels}, 7), uniform(backend, {channels}, 8)},
                                          Tensor(backend, shape, maps)};
         return {[=, &backend] { backend.batch_norm_backward_data(pass); }, {pass.dx}};
       }},
  };
}

inline PrimitiveCase batch_norm_prepare_case(std::int64_t channels) {
  return {concat("batch_norm_prepare/", channels),
          8.0 * static_cast<double>(channels),
          {0, 36.0 * static_cast<double>(channels)},
          [=](Backend& backend, DType) -> Call {
            const BatchNormPrepare pass =
                preparation(backend, uniform(backend, {channels}, 1), uniform(backend, {channels}, 2, 0.5, 2.0), 7);
            return {[=, &backend] { backend.batch_norm_prepare(pass); },
                    {pass.inverse_deviation, pass.scale, pass.running_mean, pass.running_variance}};
          }};
}

inline std::vector<PrimitiveCase> element_cases(const Shape& shape) {
  const auto count = static_cast<double>(shape.count());
  const auto name = [&](const char* primitive) { return concat(primitive, "/", shape.count()); };
  return {
      {name("add"),
       count,
       {3 * count},
       [=](Backend& backend, DType maps) -> Call {
         const Tensor a = map(backend, shape, 1, maps), b = map(backend, shape, 2, maps), out(backend, shape, maps);
         return {[=, &backend] { backend.add(a, b, out); }, {out}};
       }},
      {name("relu_forward"),
       count,
       {2 * count},
       [=](Backend& backend, DType maps) -> Call {
         const Tensor x = map(backend, shape, 1, maps), y(backend, shape, maps);
         return {[=, &backend] { backend.relu_forward(x, y); }, {y}};
       }},
      {name("relu_backward"),
       count,
       {3 * count},
       [=](Backend& backend, DType maps) -> Call {
         const Tensor dy = map(backend, shape, 1, maps), y = map(backend, shape, 2, maps), dx(backend, shape, maps);
         return {[=, &backend] { backend.relu_backward(dy, y, dx); }, {dx}};
       }},
  };
}

/// The end of the network: pooling, linear layer and loss, on feature maps `shape`.
inline std::vector<PrimitiveCase> head_cases(const Shape& shape, std::int64_t classes) {
  const std::int64_t images = shape[0], features = shape[3];
  const auto count = static_cast<double>(shape.count()), logits = static_cast<double>(images * classes);
  const auto products = static_cast<double>(images * features * classes);
  const std::string size = concat("/", images, "x", shape[1], "x", shape[2], "x", features),
                    linear = concat("/", images, "x", features, "_to", classes);
  return {
      {"average_pool_forward" + size,
       count,
       {count},
       [=](Backend& backend, DType maps) -> Call {
         const AveragePool pass{map(backend, shape, 1, maps), Tensor(backend, {images, 1, 1, features}), shape[1],
                                shape[2]};
         return {[=, &backend] { backend.average_pool_forward(pass); }, {pass.y}};
       },
       shape[1] * shape[2]},
      {"average_pool_backward" + size,
       count,
       {count},
       [=](Backend& backend, DType maps) -> Call {
         const AveragePool pass{Tensor(backend, shape, maps), uniform(backend, {images, 1, 1, features}, 1), shape[1],
                                shape[2]};
         return {[=, &backend] { backend.average_pool_backward(pass); }, {pass.x}};
       }},
      {"linear_forward" + linear,
       2 * products,
       {0, 4.0 * static_cast<double>(images * features + features * classes) + 4 * logits},
       [=](Backend& backend, DType) -> Call {
         const LinearForward pass{uniform(backend, {images, features}, 1), uniform(backend, {classes, features}, 2),
                                  uniform(backend, {classes}, 3), Tensor(backend, {images, classes})};
         return {[=, &backend] { backend.linear_forward(pass); }, {pass.y}};
       },
       features},
      {"linear_backward" + linear,
       4 * products,
       {0, 8.0 * static_cast<double>(images * features + features * classes) + 4 * logits},
       [=](Backend& backend, DType) -> Call {
         const LinearBackward pass{uniform(backend, {images, features}, 1), uniform(backend, {classes, features}, 2),
                                   uniform(backend, {images, classes}, 3),  Tensor(backend, {images, features}),
                                   Tensor(backend, {classes, features}),    Tensor(backend, {classes})};
         return {[=, &backend] { backend.linear_backward(pass); }, {pass.dx, pass.d_weight, pass.d_bias}};
       },
       images},
      {concat("softmax/", images, "x", classes),
       4 * logits,
       {0, 8 * logits},
       [=](Backend& backend, DType) -> Call {
         const Tensor in = uniform(backend, {images, classes}, 1), out(backend, {images, classes});
         return {[=, &backend] { backend.softmax(in, out); }, {out}};
       }},
      {concat("softmax_cross_entropy/", images, "x", classes),
       6 * logits,
       {0, 8 * logits},
       [=](Backend& backend, DType) -> Call {
         const SoftmaxCrossEntropy pass{.logits = uniform(backend, {images, classes}, 1),
                                        .labels = labels(backend, images, classes),
                                        .smoothing = 0.1,
                                        .loss = Tensor(backend, {1}),
                                        .d_logits = Tensor(backend, {images, classes})};
         return {[=, &backend] { backend.softmax_cross_entropy(pass); }, {pass.loss, pass.d_logits}};
       },
       images},
      {concat("accumulate_moments/", images, "x", features),
       2.0 * static_cast<double>(images * features * features),
       {0, 4.0 * static_cast<double>(images * features) + 16.0 * static_cast<double>(features * features)},
       [=](Backend& backend, DType) -> Call {
         const auto zeros = [&](const Shape& of) { return Tensor::zeros(backend, of, DType::float64); };
         const AccumulateMoments pass{uniform(backend, {images, features}, 1),
                                      labels(backend, images, classes),
                                      zeros({features}),
                                      zeros({features, features}),
                                      zeros({classes, features}),
                                      zeros({classes})};
         return {[=, &backend] { backend.accumulate_moments(pass); },
                 {pass.sum, pass.products, pass.class_sums, pass.class_counts}};
       },
       images},
  };
}

/// Maxima of 3x3 at stride 2, as behind the ImageNet stem, and the shortcut that halves the map and doubles the channels.
inline std::vector<PrimitiveCase> downsampling_cases(const Shape& shape) {
  const Conv2dOptions options{2, 1, 1};
  const Shape pooled{shape[0], options.output_size(shape[1], 3), options.output_size(shape[2], 3), shape[3]};
  const Shape padded{shape[0], (shape[1] + 1) / 2, (shape[2] + 1) / 2, 2 * shape[3]};
  const auto in = static_cast<double>(shape.count()), out = static_cast<double>(pooled.count()),
             wide = static_cast<double>(padded.count());
  const std::string size = concat("/", shape[0], "x", shape[1], "x", shape[2], "x", shape[3]);
  return {
      {"max_pool_forward" + size,
       9 * out,
       {in + out},
       [=](Backend& backend, DType maps) -> Call {
         const MaxPoolForward pass{map(backend, shape, 1, maps), Tensor(backend, pooled, maps), 3, options};
         return {[=, &backend] { backend.max_pool_forward(pass); }, {pass.y}};
       }},
      {"max_pool_backward" + size,
       9 * out,
       {2 * in + out},
       [=](Backend& backend, DType maps) -> Call {
         const MaxPoolBackward pass{map(backend, shape, 1, maps), map(backend, pooled, 2, maps),
                                    Tensor(backend, shape, maps), 3, options};
         return {[=, &backend] { backend.max_pool_backward(pass); }, {pass.dx}};
       },
       4},
      {"padded_shortcut_forward" + size,
       0,
       {in / 4 + wide},
       [=](Backend& backend, DType maps) -> Call {
         const PaddedShortcut pass{map(backend, shape, 1, maps), Tensor(backend, padded, maps), 2, shape[3] / 2};
         return {[=, &backend] { backend.padded_shortcut_forward(pass); }, {pass.y}};
       }},
      {"padded_shortcut_backward" + size,
       0,
       {in + wide / 2},
       [=](Backend& backend, DType maps) -> Call {
         const PaddedShortcut pass{Tensor(backend, shape, maps), map(backend, padded, 1, maps), 2, shape[3] / 2};
         return {[=, &backend] { backend.padded_shortcut_backward(pass); }, {pass.x}};
       }},
  };
}

/// One step over parameters of these sizes.
inline PrimitiveCase sgd_case(const std::vector<std::int64_t>& sizes) {
  double count = 0;
  for (const std::int64_t size : sizes) count += static_cast<double>(size);
  return {concat("sgd_step/", sizes.size(), "_tensors_of_", static_cast<std::int64_t>(count)),
          6 * count,
          {0, 20 * count},
          [=](Backend& backend, DType) -> Call {
            const auto parameters = std::make_shared<std::vector<SgdStep::Parameter>>();
            Call call;
            for (const std::int64_t size : sizes) {
              parameters->push_back(
                  {uniform(backend, {size}, 1), uniform(backend, {size}, 2), uniform(backend, {size}, 3), 5e-4});
              call.outputs.push_back(parameters->back().value);
              call.outputs.push_back(parameters->back().velocity);
            }
            call.run = [=, &backend] { backend.sgd_step({.parameters = *parameters, .learning_rate = 0.1}); };
            return call;
          }};
}

/// One step of AdamW, for some parameters their first and for others one of many, some with weight decay. A root and a
/// division count as one FLOP each.
inline PrimitiveCase adamw_case(const std::vector<std::int64_t>& sizes) {
  double count = 0;
  for (const std::int64_t size : sizes) count += static_cast<double>(size);
  return {concat("adamw_step/", sizes.size(), "_tensors_of_", static_cast<std::int64_t>(count)),
          15 * count,
          {0, 28 * count},
          [=](Backend& backend, DType) -> Call {
            const auto parameters = std::make_shared<std::vector<AdamWStep::Parameter>>();
            Call call;
            for (const std::int64_t size : sizes) {
              const std::size_t number = parameters->size();
              parameters->push_back({.value = uniform(backend, {size}, 1),
                                     .gradient = uniform(backend, {size}, 2),
                                     .first = uniform(backend, {size}, 3),
                                     .second = uniform(backend, {size}, 4, 0.0, 1.0),
                                     .steps = Tensor::full(backend, {1}, number % 4 == 3 ? 999.0 : number % 4),
                                     .weight_decay = number % 2 == 0 ? 0.05 : 0.0});
              const AdamWStep::Parameter& parameter = parameters->back();
              for (const Tensor& output : {parameter.value, parameter.first, parameter.second, parameter.steps}) {
                call.outputs.push_back(output);
              }
            }
            call.run = [=, &backend] { backend.adamw_step({.parameters = *parameters, .learning_rate = 0.1}); };
            return call;
          }};
}

/// One step of the averages of parameters of these sizes.
inline PrimitiveCase average_case(const std::vector<std::int64_t>& sizes) {
  double count = 0;
  for (const std::int64_t size : sizes) count += static_cast<double>(size);
  return {concat("average_step/", sizes.size(), "_tensors_of_", static_cast<std::int64_t>(count)),
          3 * count,
          {0, 12 * count},
          [=](Backend& backend, DType) -> Call {
            const auto parameters = std::make_shared<std::vector<AverageStep::Parameter>>();
            Call call;
            for (const std::int64_t size : sizes) {
              parameters->push_back({uniform(backend, {size}, 1), uniform(backend, {size}, 2)});
              call.outputs.push_back(parameters->back().average);
            }
            call.run = [=, &backend] { backend.average_step({.parameters = *parameters}); };
            return call;
          }};
}

/// FLOPs: of what is done in floating point to the bits; the generator's integers don't count.
inline PrimitiveCase draw_numbers_case(std::int64_t count, DrawNumbers::Distribution distribution) {
  const bool normal = distribution == DrawNumbers::Distribution::normal;
  return {concat("draw_numbers/", normal ? "normal_" : "uniform_", count),
          (normal ? 69.0 : 4.0) * static_cast<double>(count),
          {0, 4.0 * static_cast<double>(count)},
          [=](Backend& backend, DType) -> Call {
            const DrawNumbers pass{Tensor(backend, {count}), distribution, 0.1, 9, stream_of("numbers")};
            return {[=, &backend] { backend.draw_numbers(pass); }, {pass.out}};
          }};
}

inline PrimitiveCase draw_augmentation_case(std::int64_t images) {
  return {concat("draw_augmentation/", images),
          0,
          {0, 28.0 * static_cast<double>(images)},
          [=](Backend& backend, DType) -> Call {
            const DrawAugmentation pass{.indices = labels(backend, images, 10),
                                        .draws = Tensor(backend, {images, 6}, DType::int32),
                                        .seed = 9,
                                        .stream = stream_of("augment"),
                                        .row_padding = 4,
                                        .column_padding = 4,
                                        .flip = Flip::random,
                                        .cutout = 8,
                                        .cutout_stream = stream_of("cutout"),
                                        .height = 32,
                                        .width = 32};
            return {[=, &backend] { backend.draw_augmentation(pass); }, {pass.draws}};
          }};
}

inline PrimitiveCase augment_case(std::int64_t images, std::int64_t size) {
  const Shape batch{images, size, size, 3};
  const auto count = static_cast<double>(batch.count());
  return {concat("augment/", images, "x", size, "x", size, "x3"),
          2 * count,
          {count, count},
          [=](Backend& backend, DType maps) -> Call {
            std::vector<std::uint8_t> bytes(static_cast<std::size_t>(batch.count()));
            for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(Random(1).bits(i));
            std::vector<std::int32_t> draws(12, -1);  // of two images before, which are not to be read
            for (std::int64_t i = 0; i < images; ++i) {
              const auto shift = [&](std::int64_t at) {
                return static_cast<std::int32_t>(Random(2).below(static_cast<std::uint64_t>(at), 5)) - 2;
              };
              draws.insert(draws.end(), {static_cast<std::int32_t>(i), shift(2 * i), shift(2 * i + 1),
                                         static_cast<std::int32_t>(i % 2), 5 * shift(3 * i), 9 * shift(3 * i + 1)});
            }
            const Augment pass{.images = Tensor::from_host(backend, batch, bytes),
                               .draws = Tensor::from_host(backend, {images + 2, 6}, draws),
                               .first = 2,
                               .scale = uniform(backend, {3}, 1),
                               .offset = uniform(backend, {size, size, 3}, 2),
                               .x = Tensor(backend, batch, maps),
                               .cutout = 8,
                               .image_labels = labels(backend, images, 10),
                               .labels = Tensor(backend, {images}, DType::int32)};
            return {[=, &backend] { backend.augment(pass); }, {pass.x, pass.labels}};
          }};
}

inline std::vector<PrimitiveCase> convolution_cases(const std::vector<ConvolutionSize>& sizes) {
  std::vector<PrimitiveCase> cases;
  for (const ConvolutionSize& size : sizes) {
    cases.push_back(convolution_inference(size));
    for (const bool fused : {false, true}) {
      cases.push_back(convolution_forward(size, fused));
      cases.push_back(convolution_backward_data(size, fused));
      cases.push_back(convolution_backward_weights(size, fused));
    }
    cases.push_back(convolution_backward_data(size, true, true));
  }
  return cases;
}

/// The shapes of the networks at a batch of so many images: the three stages, the strided convolutions, the
/// projections and the stem.
inline std::vector<ConvolutionSize> network_convolutions(std::int64_t batch) {
  return {{batch, 32, 32, 16, 16, 3, 3, {1, 1, 1}}, {batch, 16, 16, 32, 32, 3, 3, {1, 1, 1}},
          {batch, 8, 8, 64, 64, 3, 3, {1, 1, 1}},   {batch, 32, 32, 16, 32, 3, 3, {2, 1, 1}},
          {batch, 16, 16, 32, 64, 3, 3, {2, 1, 1}}, {batch, 32, 32, 16, 32, 1, 1, {2, 0, 0}},
          {batch, 16, 16, 32, 64, 1, 1, {2, 0, 0}}, {batch, 32, 32, 3, 16, 3, 3, {1, 1, 1}}};
}

/// Sizes where something ends in the middle: tiles, vectors, blocks, images.
inline std::vector<ConvolutionSize> odd_convolutions() {
  return {
      {3, 9, 8, 17, 5, 3, 3, {1, 1, 1}},    {3, 9, 8, 5, 17, 3, 3, {2, 1, 1}},    {1, 1, 1, 16, 16, 3, 3, {1, 1, 1}},
      {5, 7, 6, 33, 34, 3, 3, {1, 1, 1}},   {1, 33, 70, 24, 40, 3, 3, {1, 1, 1}}, {2, 11, 13, 16, 48, 3, 3, {1, 0, 0}},
      {2, 10, 9, 20, 12, 3, 3, {1, 2, 2}},  {7, 4, 4, 64, 64, 3, 3, {1, 1, 1}},   {3, 12, 5, 16, 8, 3, 3, {1, 0, 2}},
      {2, 6, 150, 16, 16, 3, 3, {1, 1, 1}}, {2, 9, 9, 8, 16, 5, 3, {2, 2, 1}},    {2, 17, 30, 3, 20, 7, 7, {2, 3, 3}},
      {2, 14, 6, 9, 40, 1, 1, {1, 0, 0}},   {3, 7, 7, 24, 20, 1, 1, {1, 0, 0}}};
}

/// Filters that no cache holds, which the CPU goes about otherwise: with and without Winograd, channels that end in the
/// middle of vectors and of parts.
inline std::vector<ConvolutionSize> large_filters() {
  return {{2, 6, 5, 170, 177, 3, 3, {1, 1, 1}},
          {2, 5, 7, 215, 217, 3, 3, {2, 1, 1}},
          {2, 3, 2, 410, 330, 3, 3, {2, 1, 1}},
          {2, 5, 7, 520, 530, 1, 1, {2, 0, 0}}};
}

inline std::vector<PrimitiveCase> other_cases(std::int64_t batch) {
  std::vector<PrimitiveCase> cases;
  const auto take = [&](std::vector<PrimitiveCase> more) {
    std::move(more.begin(), more.end(), std::back_inserter(cases));
  };
  for (const Shape& shape : {Shape{batch, 32, 32, 16}, Shape{batch, 16, 16, 32}, Shape{batch, 8, 8, 64}}) {
    take(batch_norm_cases(shape));
  }
  take(element_cases({batch, 32, 32, 16}));
  take(head_cases({batch, 8, 8, 64}, 10));
  take(downsampling_cases({batch, 32, 32, 16}));
  const std::vector<std::int64_t> parameters = {432, 2304, 2304, 4608, 9216, 9216, 18432, 36864, 36864, 640, 10};
  cases.push_back(sgd_case(parameters));
  cases.push_back(adamw_case(parameters));
  cases.push_back(average_case(parameters));
  for (const auto distribution : {DrawNumbers::Distribution::normal, DrawNumbers::Distribution::uniform}) {
    cases.push_back(draw_numbers_case(36864, distribution));
  }
  cases.push_back(draw_augmentation_case(batch));
  cases.push_back(augment_case(batch, 32));
  return cases;
}

/// What the tests run: small batches, the odd sizes too.
inline std::vector<PrimitiveCase> test_cases() {
  std::vector<PrimitiveCase> cases = convolution_cases(network_convolutions(2));
  const auto take = [&](std::vector<PrimitiveCase> more) {
    std::move(more.begin(), more.end(), std::back_inserter(cases));
  };
  take(convolution_cases(odd_convolutions()));
  take(other_cases(3));
  take(batch_norm_cases({2, 7, 5, 17}));
  cases.push_back(batch_norm_prepare_case(17));
  take(element_cases({3, 5, 7, 3}));
  take(downsampling_cases({2, 7, 6, 19}));
  take(head_cases({5, 3, 7, 19}, 17));
  return cases;
}

/// What the benches run: the networks' shapes at a real batch, and some that stress.
inline std::vector<PrimitiveCase> bench_cases(std::int64_t batch) {
  std::vector<PrimitiveCase> cases = convolution_cases(network_convolutions(batch));
  const auto take = [&](std::vector<PrimitiveCase> more) {
    std::move(more.begin(), more.end(), std::back_inserter(cases));
  };
  take(convolution_cases({{1, 32, 32, 16, 16, 3, 3, {1, 1, 1}},
                          {batch, 8, 8, 128, 128, 3, 3, {1, 1, 1}},
                          {batch / 8, 56, 56, 64, 64, 3, 3, {1, 1, 1}},
                          {batch, 7, 7, 20, 20, 3, 3, {1, 1, 1}}}));
  take(other_cases(batch));
  return cases;
}

}  // namespace stagewise::primitive_cases
