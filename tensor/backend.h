// The one seam between the framework and a device: the primitives a device must provide.
//
// A primitive is what a device does well in one go, so fusion lives here and not in special cases above. The pattern
// that pays everywhere: a convolution normalises and ReLUs its input as it reads, and gathers its output's moments as
// it writes; the two ways back, by data (the gradient of the input) and by weights (that of the filters), fold the
// batch norm's backward in the same way. A device that can't fuse runs the parts one after another behind the same
// call.
//
// Conventions. Images are NHWC, filters KRSC (output channel, row, column, input channel). Every tensor of a call is on
// this backend; floating-point ones share one element type (`reference` takes float32 and float64, the others float32),
// but for feature maps [N,H,W,C]: where the backend supports bfloat16 they may be stored in it, all of a call, beside
// float32 parameters, statistics and arithmetic. Pooling's y is float32 then.
// An optional tensor is one that may be left undefined. Outputs are allocated by the caller and overwritten; an output
// may share memory with an input only where its comment says so. Calls may be asynchronous, but are done as if in their
// order: only `copy_to_host` and `synchronise` wait. What a call has in host memory, spans included, is read before it
// returns; a tensor's memory may go to the next tensor as soon as the call that used it has returned. The callers have
// checked shapes and types.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/allocator.h"
#include "tensor/tensor.h"

namespace stagewise {

/// How a filter moves over its input. `before` pads the top and left, `after` the bottom and right, with zeros: Keras's
/// `same` at stride 2 needs 0 before and 1 after.
struct Conv2dOptions {
  std::int64_t stride = 1;
  std::int64_t padding_before = 0;
  std::int64_t padding_after = 0;

  std::int64_t output_size(std::int64_t input, std::int64_t filter) const {
    return (input + padding_before + padding_after - filter) / stride + 1;
  }
  bool operator==(const Conv2dOptions&) const = default;
};

/// The shape [N,P,Q,K] of the convolution of x [N,H,W,C] with filters [K,R,S,C].
inline Shape convolution_output(const Shape& x, const Shape& filters, const Conv2dOptions& options) {
  return {x[0], options.output_size(x[1], filters[1]), options.output_size(x[2], filters[2]), filters[0]};
}

/// What a batch norm does to each channel: (x - mean) * scale + shift, with inverse_deviation = 1/sqrt(variance +
/// epsilon), scale = weight * inverse_deviation, shift = the layer's bias. All [C].
struct BatchNormCoefficients {
  Tensor mean, inverse_deviation, scale, shift;
  bool defined() const { return mean.defined(); }
};

/// From moments to coefficients, and the running statistics' update:
/// running += momentum * (batch - running), the variance unbiased (times pixels/(pixels-1), as PyTorch and cuDNN do).
struct BatchNormPrepare {
  Tensor mean, variance;  // [C]
  Tensor weight;          // [C]
  double epsilon = 1e-5;
  Tensor inverse_deviation, scale;        // [C], out
  Tensor running_mean, running_variance;  // [C], optional, in and out
  double momentum = 0.1;
  std::int64_t pixels = 0;  // values per channel, with running statistics
  bool defined() const { return weight.defined(); }
};

/// Gradients of a batch norm's weight and bias: sum of dz * x_hat and sum of dz over all pixels, with
/// x_hat = (x - mean) * inverse_deviation and dz the gradient of its output. Both [C].
struct BatchNormGradients {
  Tensor weight, bias;
  bool defined() const { return weight.defined(); }
};

/// y = relu?(convolution(a, weight) + bias + addend), a = x or relu(batch_norm(x)).
struct ConvolutionForward {
  Tensor x;       // [N,H,W,C]
  Tensor weight;  // [K,R,S,C]
  Tensor bias;    // [K], optional
  Tensor y;       // [N,P,Q,K], out
  Conv2dOptions options;
  BatchNormCoefficients input_batch_norm;  // optional: read relu(batch_norm(x)) instead of x; padding stays zero
  Tensor mean, variance;                   // [K], optional, out: of y over N, P and Q; biased variance
  BatchNormPrepare output_batch_norm;      // optional, with the moments, which are its own: prepared from them
  Tensor addend;                           // [N,P,Q,K], optional; may be y
  bool relu = false;                       // not with the moments
  Tensor prepared;                         // optional: what convolution_prepare or prepare_filters made of weight
};

/// How a backend goes about a convolution in one direction, for people to read.
struct ConvolutionPlanText {
  std::string direction;  // forward, by data, by weights
  std::string algorithm;
  std::string reason;  // why this one, and how
};

/// The convolution's gradient *by data* (PyTorch's grad_input, cuDNN's dgrad):
/// dx = convolution_transposed(dy, weight) + addend. With `input_batch_norm`, the convolution's input was
/// relu(batch_norm(x)), or relu(batch_norm(x) + more), which is then `relu_output`: dx is zeroed where that ReLU was
/// off, and the batch norm's gradients are gathered from it.
struct ConvolutionBackwardData {
  Tensor dy;      // [N,P,Q,K]
  Tensor weight;  // [K,R,S,C]
  Tensor addend;  // [N,H,W,C], optional; may be dx
  Tensor dx;      // [N,H,W,C], out
  Conv2dOptions options;
  Tensor x;                                // [N,H,W,C], with input_batch_norm
  BatchNormCoefficients input_batch_norm;  // optional
  Tensor relu_output;                      // [N,H,W,C], optional, with input_batch_norm
  BatchNormGradients gradients;            // with input_batch_norm, out
  Tensor prepared;                         // optional: what prepare_filters made of weight
};

/// Its gradient *by weights* (PyTorch's grad_weight, cuDNN's wgrad):
/// d_weight = correlation(a, dy), d_bias = sum of dy, with a as in ConvolutionForward. With `output_batch_norm`, `dy` is
/// the gradient dz of the output of the batch norm that followed, whose input was y: the pass computes
/// dy = scale * (dz - (gradients.bias + x_hat * gradients.weight) / pixels) as it reads, and stores it in `dy_out`.
struct ConvolutionBackwardWeights {
  Tensor x;                                // [N,H,W,C]
  BatchNormCoefficients input_batch_norm;  // optional
  Tensor dy;                               // [N,P,Q,K]
  Tensor d_weight;                         // [K,R,S,C], out
  Tensor d_bias;                           // [K], optional, out
  Conv2dOptions options;
  BatchNormCoefficients output_batch_norm;  // optional
  Tensor y;                                 // [N,P,Q,K], with output_batch_norm
  BatchNormGradients gradients;             // with output_batch_norm, in
  Tensor dy_out;                            // [N,P,Q,K], with output_batch_norm, out; may be dy
};

/// Mean and biased variance of x over N, H and W; sound where |mean| is much larger than the deviation.
struct BatchNormMoments {
  Tensor x;                  // [N,H,W,C]
  Tensor mean, variance;     // [C], out
  BatchNormPrepare prepare;  // optional, whose moments these are: done with them
};

/// y = relu?(batch_norm(x) + addend), addend = nothing, a tensor, or batch_norm(a tensor).
struct BatchNormForward {
  Tensor x;  // [N,H,W,C]
  BatchNormCoefficients batch_norm;
  Tensor addend;                            // [N,H,W,C], optional
  BatchNormCoefficients addend_batch_norm;  // optional
  bool relu = false;
  Tensor y;  // [N,H,W,C], out; may be x or addend
};

/// dz = dy where y > 0 (or dy where there is no y), and the batch norm's gradients from it.
struct BatchNormBackwardReduce {
  Tensor dy;  // [N,H,W,C]
  Tensor y;   // [N,H,W,C], optional: the output of the ReLU
  Tensor x;   // [N,H,W,C]: the batch norm's input
  BatchNormCoefficients batch_norm;
  Tensor dz;                     // [N,H,W,C], out with y; may be dy
  BatchNormGradients gradients;  // out
};

/// dx = scale * (dz - (gradients.bias + x_hat * gradients.weight) / pixels).
struct BatchNormBackwardData {
  Tensor dz, x;  // [N,H,W,C]
  BatchNormCoefficients batch_norm;
  BatchNormGradients gradients;
  Tensor dx;  // [N,H,W,C], out; may be dz
};

/// y = x weight^T + bias and its gradients.
struct LinearForward {
  Tensor x;       // [N,C]
  Tensor weight;  // [K,C]
  Tensor bias;    // [K], optional
  Tensor y;       // [N,K], out
};
struct LinearBackward {
  Tensor x, weight, dy;  // [N,C], [K,C], [N,K]
  Tensor dx;             // [N,C], optional, out
  Tensor d_weight;       // [K,C], optional, out
  Tensor d_bias;         // [K], optional, out
};

/// Average over windows of `height` x `width` pixels that don't overlap; rows and columns left over are not read.
struct AveragePool {
  Tensor x;  // [N,H,W,C] (backward: dx, out)
  Tensor y;  // [N,H/height,W/width,C] (backward: dy, in)
  std::int64_t height = 1, width = 1;
};

/// The maximum over windows of `window` x `window` pixels, which may overlap; padding never wins. Of equals the first
/// counts, row by row; NaN wins over every number. Every window lies on the image with at least one pixel.
struct MaxPoolForward {
  Tensor x;  // [N,H,W,C]
  Tensor y;  // [N,P,Q,C], out; P = options.output_size(H, window)
  std::int64_t window = 1;
  Conv2dOptions options;
};

/// dx = the sum of dy over the windows whose maximum a pixel was. Which that was is looked up in x once more.
struct MaxPoolBackward {
  Tensor x, dy;  // [N,H,W,C], [N,P,Q,C]
  Tensor dx;     // [N,H,W,C], out
  std::int64_t window = 1;
  Conv2dOptions options;
};

/// A shortcut without parameters (option A of He et al. 2016, arXiv 1512.03385, section 3.3): every `stride`-th pixel, with
/// channels of zeros before and behind: y[n,p,q,zeros_before+c] = x[n,p stride,q stride,c], else 0.
struct PaddedShortcut {
  Tensor x;  // [N,H,W,C] (backward: dx, out)
  Tensor y;  // [N,ceil(H/stride),ceil(W/stride),K], K >= zeros_before + C (backward: dy, in)
  std::int64_t stride = 1, zeros_before = 0;
};

/// Mean over the batch of the cross-entropy between softmax(logits) and the labels smoothed by `smoothing`: a share of
/// `smoothing` of the target is spread evenly over all classes. Labels are checked where they enter a device
/// (datasets/loader.h); a label outside [0,K) gives its image a loss and gradients of NaN, and no right answer.
struct SoftmaxCrossEntropy {
  Tensor logits;  // [N,K]
  Tensor labels;  // int32 [N]
  double smoothing = 0.0;
  Tensor loss;      // [1], out
  Tensor d_logits;  // [N,K], optional, out: the gradient of `loss`
  Tensor totals;    // float64 [2], optional, in and out: adds the sum of the images' losses, and how
                    // many images' largest logit (the first of equals) is the label's
};

/// Stochastic gradient descent with Nesterov momentum over all parameters in one call, as PyTorch writes it:
/// g += decay * w;  v = momentum * v + g;  w -= learning_rate * (nesterov ? g + momentum * v : v).
struct SgdStep {
  struct Parameter {
    Tensor value, gradient, velocity;
    double weight_decay = 0.0;
  };
  std::span<const Parameter> parameters;
  double learning_rate = 0.0;
  Tensor rate;  // float32 [1], optional: the learning rate, read on the device, in place of `learning_rate`
  double momentum = 0.9;
  bool nesterov = true;
};

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2) over all parameters in
/// one call, as PyTorch's torch.optim.AdamW computes it. With t = ++steps:
/// w -= learning_rate * decay * w;  m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g * g;
/// w -= learning_rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon).
struct AdamWStep {
  struct Parameter {
    Tensor value, gradient;
    Tensor first, second;  // m and v, of value's shape and type, in and out; they start at zero
    // [1], of value's type, in and out: how often this parameter has been stepped, counted up by the call. Each
    // parameter has its own: a block that is put into a growing network starts at zero. On the device, so that a step
    // can be recorded. Float32 counts to 2^24 and stays there, when both corrections have long been 1.
    Tensor steps;
    double weight_decay = 0.0;
  };
  std::span<const Parameter> parameters;
  double learning_rate = 0.0;
  Tensor rate;                        // as SgdStep::rate
  double beta1 = 0.9, beta2 = 0.999;  // at least 0, less than 1
  double epsilon = 1e-8;
};

/// Exponential moving averages of parameters, all in one call: average += rate * (value - average), with rate =
/// 1 - decay computed in double. The rate, the difference, the product and the sum are each rounded to the parameters'
/// type, nothing is fused: the same bits on every device.
struct AverageStep {
  struct Parameter {
    Tensor average;  // in and out
    Tensor value;    // of the same shape and type
  };
  std::span<const Parameter> parameters;
  double decay = 0.999;
};

/// Random numbers, the same to the bit on every device: out[i] = scale * normal(i), or scale * (2 uniform(i) - 1),
/// which is uniform in [-scale, scale). Both of Random(seed, stream) (tensor/random.h), in double, then rounded to
/// out's type.
struct DrawNumbers {
  enum class Distribution { normal, uniform };
  Tensor out;  // any shape, out
  Distribution distribution = Distribution::normal;
  double scale = 1.0;
  std::uint64_t seed = 0, stream = 0;
};

/// Which images of an epoch are mirrored left-right:
///  none         none
///  random       each with probability 1/2, drawn anew in every epoch
///  alternating  in the first epoch as if at random, in every later one the other way than in the one before, so that
///               two epochs show an image both ways (Jordan 2024, arXiv 2404.00498, section 3.6)
enum class Flip { none, random, alternating };

/// How each image of a batch, or of a whole epoch, is cropped, flipped and cut out: draws[b] = (indices[b], row, column, flip, top, left) for
/// `augment`. With below = Random(seed, stream).below (tensor/random.h) and place = first_place + b:
///  row       below(3 place, 2 row_padding + 1) - row_padding, column likewise from 3 place + 1
///  flip      0, or below(3 place + 2, 2), or alternating Random(seed, flip_stream).below(indices[b], 2), the other one
///            of 0 and 1 in an odd epoch
///  top       the cutout's first row (DeVries and Taylor 2017, arXiv 1708.04552): its centre, which lies anywhere in
///            the image, Random(seed, cutout_stream).below(2 place, height), minus cutout / 2, rounded down; left
///            likewise from 2 place + 1 and width. An odd cutout has as many pixels on both sides of its centre, an even one one
///            more above and to the left. Both 0 without a cutout.
struct DrawAugmentation {
  Tensor indices;  // int32 [B]
  Tensor draws;    // int32 [B,6], out
  std::uint64_t seed = 0, stream = 0;
  std::int64_t first_place = 0;  // of indices[0] in the epoch
  std::int64_t row_padding = 0, column_padding = 0;
  Flip flip = Flip::none;
  std::uint64_t flip_stream = 0;  // alternating only: the same in all epochs
  bool odd_epoch = false;         // alternating only: the first epoch is number 0
  std::int64_t cutout = 0;        // pixels a side; 0: none
  std::uint64_t cutout_stream = 0;
  std::int64_t height = 0, width = 0;  // of the images, with a cutout
};

/// From images in bytes to a batch of floats, cropped, flipped and cut out:
/// x[b,h,w,c] = images[i, reflect(h + row), reflect(w' + column), c] * scale[c] - offset[h,w,c], w' = w or W-1-w, where
/// draws[first + b] = (i, row, column, flip, top, left). reflect(-1) = 1, reflect(H) = H-2: the edge is not repeated (a side of
/// one pixel stays where it is). Shifts are smaller than the image. Then x = 0, the mean colour, in rows top to
/// top + cutout - 1 and columns left to left + cutout - 1, as far as they are in the image.
struct Augment {
  Tensor images;            // uint8 [M,H,W,C]
  Tensor draws;             // int32 [D,6], such as a whole epoch's
  std::int64_t first = 0;   // of the draws: x[0]'s
  Tensor scale;             // [C]
  Tensor offset;            // [H,W,C]
  Tensor x;                 // [B,H,W,C], out
  std::int64_t cutout = 0;  // pixels a side; 0: none
  Tensor image_labels;      // int32 [M], optional
  Tensor labels;            // int32 [B], with image_labels, out: labels[b] = image_labels[i]
};

/// Adds a batch of features and one-hot labels to the moments that the importance criteria need, in double. An image
/// whose label is outside [0,K) counts in `sum` and `products` only.
struct AccumulateMoments {
  Tensor features;      // [N,P]
  Tensor labels;        // int32 [N]
  Tensor sum;           // float64 [P], in and out: sum of x
  Tensor products;      // float64 [P,P], in and out: sum of x x^T (both triangles)
  Tensor class_sums;    // float64 [K,P], in and out: sum of x by class
  Tensor class_counts;  // float64 [K], in and out
};

/// Work that was recorded once and can be done again: the same calls with the same numbers on the same memory.
class Recording {
 public:
  virtual ~Recording() = default;
  /// Queues the work again.
  virtual void replay() = 0;
};

/// A device. One backend outlives all its tensors.
class Backend {
 public:
  virtual ~Backend() = default;

  /// `cpu`, `reference`, `cuda`, or what another calls itself.
  virtual std::string name() const = 0;
  /// One line for people: the instruction set and threads, or the card.
  virtual std::string description() const = 0;
  /// Whether tensors of this floating-point type can be computed with.
  virtual bool supports(DType dtype) const = 0;
  virtual CachingAllocator& allocator() = 0;

  // Memory. `copy_from_host` may return before the copy is done only if it no longer needs `from`.
  virtual void copy_from_host(const void* from, const Tensor& to) = 0;
  virtual void copy_to_host(const Tensor& from, void* to) = 0;
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  virtual void fill(const Tensor& tensor, double value) = 0;
  virtual void synchronise() = 0;

  /// Whether the device can record work.
  virtual bool can_record() const { return false; }
  /// Does `work` once and records what it queues. Work must be steady: it has been done before with the same shapes,
  /// calls nothing that copies from or to the host or waits, and leaves no tensor behind. What differs from time to
  /// time lies in tensors, such as SgdStep::rate. The tensors of others that it uses must outlive the recording.
  /// Where the device doesn't record it after all: nullptr, nothing has been done on the device, and can_record() is
  /// false from then on. `work` may have been called and have ended anywhere, so what it leaves on the host (gradients)
  /// is to be cleared before it is called again.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& /*work*/) { return nullptr; }

  // Element by element; `out` may be an input.
  virtual void add(const Tensor& a, const Tensor& b, const Tensor& out) = 0;
  virtual void relu_forward(const Tensor& x, const Tensor& y) = 0;
  /// dx = dy where y > 0, else 0.
  virtual void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) = 0;

  /// A hint: most convolutions that follow are over so many images (0: nobody knows), so what takes long to prepare is
  /// prepared for that number only. The bits may depend on it.
  virtual void expect_batch(std::int64_t /*images*/) {}
  /// For x [N,H,W,C] and weight [K,R,S,C], in all three directions, with feature maps of type `maps`.
  virtual std::vector<ConvolutionPlanText> convolution_plan(const Shape& x, const Shape& weight,
                                                            const Conv2dOptions& options, DType maps) = 0;
  /// The weight as the forward pass over images of x's height and width uses it, for a weight that stays: it serves any
  /// number of images, whatever x's was. Undefined where there is nothing to prepare.
  virtual Tensor convolution_prepare(const Shape& x, const Tensor& weight, const Conv2dOptions& options) = 0;
  /// The weights [K,R,S,C] of many convolutions as those over maps of type `maps` read them, forward and by data, all
  /// made at once: for a pass through a network, since they are worth nothing once a weight has changed. Empty where
  /// there is nothing to prepare.
  virtual std::vector<Tensor> prepare_filters(std::span<const Tensor> /*weights*/, DType /*maps*/) { return {}; }
  virtual void convolution_forward(const ConvolutionForward&) = 0;
  virtual void convolution_backward_data(const ConvolutionBackwardData&) = 0;
  virtual void convolution_backward_weights(const ConvolutionBackwardWeights&) = 0;

  virtual void batch_norm_moments(const BatchNormMoments&) = 0;
  virtual void batch_norm_prepare(const BatchNormPrepare&) = 0;
  virtual void batch_norm_forward(const BatchNormForward&) = 0;
  virtual void batch_norm_backward_reduce(const BatchNormBackwardReduce&) = 0;
  virtual void batch_norm_backward_data(const BatchNormBackwardData&) = 0;

  virtual void linear_forward(const LinearForward&) = 0;
  virtual void linear_backward(const LinearBackward&) = 0;
  virtual void average_pool_forward(const AveragePool&) = 0;
  /// Overwrites all of x with the gradient; rows and columns left over get zero.
  virtual void average_pool_backward(const AveragePool&) = 0;

  virtual void max_pool_forward(const MaxPoolForward&) = 0;
  virtual void max_pool_backward(const MaxPoolBackward&) = 0;
  virtual void padded_shortcut_forward(const PaddedShortcut&) = 0;
  /// Overwrites all of x with the gradient; pixels that were not read get zero.
  virtual void padded_shortcut_backward(const PaddedShortcut&) = 0;

  virtual void softmax(const Tensor& logits, const Tensor& probabilities) = 0;
  virtual void softmax_cross_entropy(const SoftmaxCrossEntropy&) = 0;
  virtual void sgd_step(const SgdStep&) = 0;
  virtual void adamw_step(const AdamWStep&) = 0;
  virtual void average_step(const AverageStep&) = 0;

  virtual void draw_numbers(const DrawNumbers&) = 0;
  virtual void draw_augmentation(const DrawAugmentation&) = 0;
  virtual void augment(const Augment&) = 0;
  virtual void accumulate_moments(const AccumulateMoments&) = 0;
};

}  // namespace stagewise
