#include "bench/cudnn_batch_norm.h"

#include <cuda_runtime_api.h>
#include <cudnn.h>

#include "bench/timing.h"
#include "cuda/check.h"

namespace stagewise::bench {
namespace {

using primitive_cases::Call;
using primitive_cases::PrimitiveCase;
using primitive_cases::uniform;

constexpr double kEpsilon = 1e-5;

/// The tensors of one batch norm on one backend, and what it makes of them.
struct BatchNormTensors {
  Tensor x, dy, weight, bias;                          // in
  Tensor y, mean, variance, inverse_deviation, scale;  // out, forward
  Tensor dx, d_weight, d_bias;                         // out, backward

  BatchNormTensors(Backend& backend, const Shape& shape)
      : x(uniform(backend, shape, 1)),
        dy(uniform(backend, shape, 2)),
        weight(uniform(backend, {shape[3]}, 3)),
        bias(uniform(backend, {shape[3]}, 4)),
        y(backend, shape),
        mean(backend, {shape[3]}),
        variance(backend, {shape[3]}),
        inverse_deviation(backend, {shape[3]}),
        scale(backend, {shape[3]}),
        dx(backend, shape),
        d_weight(backend, {shape[3]}),
        d_bias(backend, {shape[3]}) {}

  BatchNormCoefficients coefficients() const { return {mean, inverse_deviation, scale, bias}; }

  void forward() const {
    Backend& backend = x.backend();
    BatchNormPrepare prepare;
    prepare.mean = mean, prepare.variance = variance, prepare.weight = weight;
    prepare.epsilon = kEpsilon;
    prepare.inverse_deviation = inverse_deviation, prepare.scale = scale;
    backend.batch_norm_moments({.x = x, .mean = mean, .variance = variance, .prepare = prepare});
    BatchNormForward pass;
    pass.x = x, pass.y = y;
    pass.batch_norm = coefficients();
    backend.batch_norm_forward(pass);
  }
  void backward() const {
    BatchNormBackwardReduce reduce;
    reduce.dy = dy, reduce.x = x;
    reduce.batch_norm = coefficients();
    reduce.gradients = {d_weight, d_bias};
    x.backend().batch_norm_backward_reduce(reduce);
    x.backend().batch_norm_backward_data({dy, x, coefficients(), reduce.gradients, dx});
  }
};

/// One for all: it holds device memory.
cudnnHandle_t handle() {
  static const cudnnHandle_t handle = [] {
    cudnnHandle_t created = nullptr;
    STAGEWISE_CHECK(cudnnCreate(&created));
    return created;
  }();
  return handle;
}

/// The same by cuDNN's calls for batch norm by itself (which it calls deprecated: it has no other).
class CudnnBatchNorm {
 public:
  explicit CudnnBatchNorm(const BatchNormTensors& tensors) : tensors_(tensors) {
    const Shape& shape = tensors.x.shape();
    const auto size = [&](int axis) { return static_cast<int>(shape[static_cast<std::size_t>(axis)]); };
    STAGEWISE_CHECK(cudnnCreateTensorDescriptor(&map_));
    STAGEWISE_CHECK(cudnnCreateTensorDescriptor(&channels_));
    STAGEWISE_CHECK(
        cudnnSetTensor4dDescriptor(map_, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, size(0), size(3), size(1), size(2)));
    STAGEWISE_CHECK(cudnnDeriveBNTensorDescriptor(channels_, map_, kMode));
  }
  ~CudnnBatchNorm() {
    cudnnDestroyTensorDescriptor(channels_);
    cudnnDestroyTensorDescriptor(map_);
  }
  CudnnBatchNorm(const CudnnBatchNorm&) = delete;
  CudnnBatchNorm& operator=(const CudnnBatchNorm&) = delete;

  void forward() const {
    const BatchNormTensors& t = tensors_;
    STAGEWISE_CHECK(cudnnBatchNormalizationForwardTraining(
        handle(), kMode, &kOne, &kZero, map_, t.x.address(), map_, t.y.address(), channels_, t.weight.address(),
        t.bias.address(), 1.0, nullptr, nullptr, kEpsilon, t.mean.address(), t.inverse_deviation.address()));
  }
  void backward() const {
    const BatchNormTensors& t = tensors_;
    STAGEWISE_CHECK(cudnnBatchNormalizationBackward(handle(), kMode, &kOne, &kZero, &kOne, &kZero, map_, t.x.address(),
                                                    map_, t.dy.address(), map_, t.dx.address(), channels_,
                                                    t.weight.address(), t.d_weight.address(), t.d_bias.address(),
                                                    kEpsilon, t.mean.address(), t.inverse_deviation.address()));
  }

 private:
  static constexpr cudnnBatchNormMode_t kMode = CUDNN_BATCHNORM_SPATIAL_PERSISTENT;
  static constexpr float kOne = 1, kZero = 0;

  BatchNormTensors tensors_;
  cudnnTensorDescriptor_t map_ = nullptr, channels_ = nullptr;
};

/// Ours on any backend, the reference too: what both are checked against.
PrimitiveCase batch_norm_case(const Shape& shape, bool forward) {
  const auto count = static_cast<double>(shape.count());
  return {concat(forward ? "batch_norm_training_forward/" : "batch_norm_training_backward/", shape[0], "x", shape[1],
                 "x", shape[2], "x", shape[3]),
          (forward ? 6 : 8) * count,
          {(forward ? 3 : 5) * count},
          [=](Backend& backend, DType) -> Call {
            const BatchNormTensors tensors(backend, shape);
            if (forward) return {[=] { tensors.forward(); }, {tensors.y, tensors.mean, tensors.inverse_deviation}};
            tensors.forward();
            return {[=] { tensors.backward(); }, {tensors.dx, tensors.d_weight, tensors.d_bias}};
          },
          shape.count() / shape[3]};
}

TimedCall cudnn_call(Backend& gpu, const Shape& shape, bool forward) {
  const BatchNormTensors tensors(gpu, shape);
  gpu.synchronise();
  const auto cudnn = std::make_shared<CudnnBatchNorm>(tensors);
  cudnn->forward();
  const auto run = [=] {
    forward ? cudnn->forward() : cudnn->backward();
    STAGEWISE_CHECK(cudaDeviceSynchronize());
  };
  const Call call = forward ? Call{run, {tensors.y, tensors.mean, tensors.inverse_deviation}}
                            : Call{run, {tensors.dx, tensors.d_weight, tensors.d_bias}};
  return timed_call(call);
}

}  // namespace

void register_batch_norms(const Shape& shape, Backend& gpu, const Roof& roof) {
  for (const bool forward : {true, false}) {
    const PrimitiveCase ours = batch_norm_case(shape, forward);
    TimedRow row{.name = ours.name,
                 .flops = ours.flops,
                 .bytes = ours.traffic.bytes(DType::float32),
                 .make =
                     [=, &gpu] {
                       TimedCall call = timed_call(ours.make(gpu, DType::float32));
                       call.run = [run = call.run, &gpu] { run(), gpu.synchronise(); };
                       return call;
                     },
                 .expected = std::make_shared<Expected>(ours),
                 .tolerance = tolerance(ours.reduction),
                 .roof = roof};
    register_row(row, /*cold=*/true, "ours");
    row.make = [=, &gpu] { return cudnn_call(gpu, shape, forward); };
    register_row(row, /*cold=*/true, "cudnn");
  }
}

}  // namespace stagewise::bench
