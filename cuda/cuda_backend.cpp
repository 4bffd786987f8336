#include "cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

#include "cuda/check.h"
#include "cuda/convolution.h"
#include "cuda/graph_recording.h"
#include "cuda/kernels.h"
#include "cuda/stream_allocator.h"
#include "cuda/tuning.h"

namespace stagewise {
namespace {

constexpr const char* kNotRecorded =
    "[cuda] a step can't be recorded, so each is queued launch by launch from now on: slower, with the same results: ";

std::string version_text(int version) { return concat(version / 1000, ".", version % 1000 / 10); }

std::string kind_of(const cudaDeviceProp& device) {
  return concat(device.name, ", compute capability ", device.major, ".", device.minor);
}

std::string text_of(const cudaDeviceProp& device) {
  return concat(kind_of(device), ", ", device.totalGlobalMem >> 20, " MiB");
}

int capability(const cudaDeviceProp& device) { return 10 * device.major + device.minor; }

/// Opened before the tensors' memory and closed after it, unless it was given.
struct Stream {
  cudaStream_t handle = nullptr;
  const bool own;
  explicit Stream(void* given) : handle(static_cast<cudaStream_t>(given)), own(given == nullptr) {
    if (own) STAGEWISE_CHECK(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking));
  }
  ~Stream() {
    if (own) cudaStreamDestroy(handle);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
};

class CudaBackend final : public ComposedBackend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : stream_(options.stream),
        can_record_(options.record && options.memory == CudaOptions::Memory::cached),
        report_(options.report),
        allocator_(cuda::stream_memory(stream_.handle, options.memory != CudaOptions::Memory::cached,
                                       options.memory == CudaOptions::Memory::filled),
                   options.memory == CudaOptions::Memory::guarded),
        convolutions_(stream_.handle, options) {
    STAGEWISE_CHECK(cudaGetDeviceProperties(&device_, 0));
  }
  ~CudaBackend() override { cudaStreamSynchronize(stream_.handle); }

  std::string name() const override { return "cuda"; }
  std::string description() const override { return concat(text_of(device_), ", ", convolutions_.description()); }
  bool supports(DType dtype) const override {
    return dtype == DType::float32 || (dtype == DType::bfloat16 && capability(device_) >= 80);
  }
  CachingAllocator& allocator() override { return allocator_; }

  // From memory that is not pinned, the runtime has taken its copy when the call returns.
  void copy_from_host(const void* from, const Tensor& to) override {
    STAGEWISE_CHECK(cudaMemcpyAsync(to.address(), from, to.bytes(), cudaMemcpyHostToDevice, stream_.handle));
  }
  void copy_to_host(const Tensor& from, void* to) override {
    STAGEWISE_CHECK(cudaMemcpyAsync(to, from.address(), from.bytes(), cudaMemcpyDeviceToHost, stream_.handle));
    synchronise();
  }
  void copy(const Tensor& from, const Tensor& to) override {
    STAGEWISE_CHECK(
        cudaMemcpyAsync(to.address(), from.address(), to.bytes(), cudaMemcpyDeviceToDevice, stream_.handle));
  }
  void fill(const Tensor& tensor, double value) override { cuda::fill(tensor, value, stream_.handle); }
  bool can_record() const override { return can_record_; }
  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    if (!can_record_) return nullptr;
    try {
      return std::make_unique<cuda::GraphRecording>(stream_.handle, allocator_, convolutions_.workspace(), work);
    } catch (const Error& error) {
      can_record_ = false;
      if (report_) report_(concat(kNotRecorded, error.what()));
      return nullptr;
    }
  }
  void synchronise() override { STAGEWISE_CHECK(cudaStreamSynchronize(stream_.handle)); }

  std::map<std::string, TunedPlan> tune(const std::function<void()>& work,
                                        const std::function<void(const TuningProgress&)>& watch) {
    require(convolutions_.cudnn() != nullptr, "[tune] direct convolutions have no plans");
    return cuda::tune(*this, *convolutions_.cudnn(), stream_.handle, work, watch);
  }

  void add(const Tensor& a, const Tensor& b, const Tensor& out) override { cuda::add(a, b, out, stream_.handle); }
  void relu_forward(const Tensor& x, const Tensor& y) override { cuda::relu_forward(x, y, stream_.handle); }
  void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) override {
    cuda::relu_backward(dy, y, dx, stream_.handle);
  }

  void expect_batch(std::int64_t images) override { convolutions_.expect_batch(images); }
  std::vector<ConvolutionPlanText> convolution_plan(const Shape& x, const Shape& weight, const Conv2dOptions& options,
                                                    DType maps) override {
    return convolutions_.plan(x, weight, options, maps);
  }
  std::vector<Tensor> prepare_filters(std::span<const Tensor> weights, DType maps) override {
    return convolutions_.prepare(weights, maps);
  }
  void convolution_forward(const ConvolutionForward& call) override {
    if (!convolutions_.run(call)) ComposedBackend::convolution_forward(call);
  }
  void convolution_backward_data(const ConvolutionBackwardData& call) override {
    if (!convolutions_.run(call)) ComposedBackend::convolution_backward_data(call);
  }
  void convolution_backward_weights(const ConvolutionBackwardWeights& call) override {
    if (!convolutions_.run(call)) ComposedBackend::convolution_backward_weights(call);
  }

  void batch_norm_moments(const BatchNormMoments& call) override { cuda::batch_norm_moments(call, stream_.handle); }
  void batch_norm_prepare(const BatchNormPrepare& call) override { cuda::batch_norm_prepare(call, stream_.handle); }
  void batch_norm_forward(const BatchNormForward& call) override { cuda::batch_norm_forward(call, stream_.handle); }
  void batch_norm_backward_reduce(const BatchNormBackwardReduce& call) override {
    cuda::batch_norm_backward_reduce(call, stream_.handle);
  }
  void batch_norm_backward_data(const BatchNormBackwardData& call) override {
    cuda::batch_norm_backward_data(call, stream_.handle);
  }

  void linear_forward(const LinearForward& call) override { cuda::linear_forward(call, stream_.handle); }
  void linear_backward(const LinearBackward& call) override { cuda::linear_backward(call, stream_.handle); }
  void average_pool_forward(const AveragePool& call) override { cuda::average_pool_forward(call, stream_.handle); }
  void average_pool_backward(const AveragePool& call) override { cuda::average_pool_backward(call, stream_.handle); }
  void max_pool_forward(const MaxPoolForward& call) override { cuda::max_pool_forward(call, stream_.handle); }
  void max_pool_backward(const MaxPoolBackward& call) override { cuda::max_pool_backward(call, stream_.handle); }
  void padded_shortcut_forward(const PaddedShortcut& call) override {
    cuda::padded_shortcut_forward(call, stream_.handle);
  }
  void padded_shortcut_backward(const PaddedShortcut& call) override {
    cuda::padded_shortcut_backward(call, stream_.handle);
  }

  void softmax(const Tensor& logits, const Tensor& probabilities) override {
    cuda::softmax(logits, probabilities, stream_.handle);
  }
  void softmax_cross_entropy(const SoftmaxCrossEntropy& call) override {
    cuda::softmax_cross_entropy(call, stream_.handle);
  }
  void sgd_step(const SgdStep& call) override { cuda::sgd_step(call, stream_.handle); }
  void adamw_step(const AdamWStep& call) override { cuda::adamw_step(call, stream_.handle); }
  void average_step(const AverageStep& call) override { cuda::average_step(call, stream_.handle); }

  void draw_numbers(const DrawNumbers& call) override { cuda::draw_numbers(call, stream_.handle); }
  void draw_augmentation(const DrawAugmentation& call) override { cuda::draw_augmentation(call, stream_.handle); }
  void augment(const Augment& call) override { cuda::augment(call, stream_.handle); }
  void accumulate_moments(const AccumulateMoments& call) override { cuda::accumulate_moments(call, stream_.handle); }

 protected:
  void bare_convolution_forward(const BareConvolution& call) override {
    cuda::convolution_direct_forward(call, stream_.handle);
  }
  void bare_convolution_backward_data(const BareConvolution& call) override {
    cuda::convolution_direct_backward_data(call, stream_.handle);
  }
  void bare_convolution_backward_weights(const BareConvolution& call) override {
    cuda::convolution_direct_backward_weights(call, stream_.handle);
  }
  void add_bias(const Tensor& x, const Tensor& bias, const Tensor& addend, bool relu, const Tensor& y) override {
    cuda::add_bias(x, bias, addend, relu, y, stream_.handle);
  }
  void channel_sums(const Tensor& x, const Tensor& sums) override { cuda::channel_sums(x, sums, stream_.handle); }
  void batch_norm_backward_reduce_normalised(const BatchNormBackwardReduce& call) override {
    cuda::batch_norm_backward_reduce_normalised(call, stream_.handle);
  }

 private:
  Stream stream_;
  bool can_record_;
  std::function<void(const std::string&)> report_;
  CachingAllocator allocator_;
  cuda::Convolutions convolutions_;
  cudaDeviceProp device_{};
};

}  // namespace

std::string cuda_unavailable() {
  const std::string no = "[device] CUDA can't be used here: ", else_cpu = ", or use --device cpu";
  int devices = 0, driver = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status == cudaErrorInsufficientDriver) {
    cudaDriverGetVersion(&driver);
    if (driver == 0)
      return no + "there is no NVIDIA driver. Install one for CUDA " + version_text(CUDART_VERSION) + else_cpu;
    return no + "the NVIDIA driver is for CUDA " + version_text(driver) + ", this build needs " +
           version_text(CUDART_VERSION) + ". Update the driver" + else_cpu;
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && devices == 0)) {
    return no + "the driver shows no device. Look at nvidia-smi and CUDA_VISIBLE_DEVICES" + else_cpu;
  }
  if (status != cudaSuccess) return no + cudaGetErrorString(status) + ". Look at nvidia-smi" + else_cpu;
  cudaDeviceProp device;
  STAGEWISE_CHECK(cudaGetDeviceProperties(&device, 0));
  if (capability(device) < 75) {
    return no + device.name + " has compute capability " + concat(device.major, ".", device.minor) +
           ", this needs 7.5 or more. Choose another card with CUDA_VISIBLE_DEVICES" + else_cpu;
  }
  return "";
}

std::string cuda_libraries() {
  return concat("CUDA ", version_text(CUDART_VERSION), ", cuDNN ", CUDNN_MAJOR, ".", CUDNN_MINOR);
}

std::vector<std::string> cuda_devices() {
  if (const std::string why = cuda_unavailable(); !why.empty()) throw Error(why);
  int count = 0;
  STAGEWISE_CHECK(cudaGetDeviceCount(&count));
  std::vector<std::string> devices;
  for (int number = 0; number < count; ++number) {
    cudaDeviceProp device;
    STAGEWISE_CHECK(cudaGetDeviceProperties(&device, number));
    devices.push_back(text_of(device));
  }
  return devices;
}

double cuda_peak_gflops() {
  if (const std::string why = cuda_unavailable(); !why.empty()) throw Error(why);
  int kilohertz = 0;
  cudaDeviceProp device;
  STAGEWISE_CHECK(cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, 0));
  STAGEWISE_CHECK(cudaGetDeviceProperties(&device, 0));
  // Fused multiply-adds of a multiprocessor a clock (CUDA C++ Programming Guide, "Arithmetic Instructions").
  const int multiply_adds = capability(device) <= 80 ? 64 : 128;
  return 2e-6 * kilohertz * multiply_adds * device.multiProcessorCount;
}

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  if (const std::string why = cuda_unavailable(); !why.empty()) throw Error(why);
  return std::make_unique<CudaBackend>(options);
}

PlanDevice plan_device() {
  if (const std::string why = cuda_unavailable(); !why.empty()) throw Error(why);
  cudaDeviceProp device;
  int driver = 0;
  STAGEWISE_CHECK(cudaGetDeviceProperties(&device, 0));
  STAGEWISE_CHECK(cudaDriverGetVersion(&driver));
  return {.device = kind_of(device), .driver = version_text(driver), .cudnn = cudnn::version()};
}

PlanFile tune_convolutions(Backend& backend, const std::function<void()>& work,
                           const std::function<void(const TuningProgress&)>& watch) {
  auto* const cuda = dynamic_cast<CudaBackend*>(&backend);
  require(cuda != nullptr, "[tune] expected a CUDA backend, got ", backend.name());
  return {.device = plan_device(), .plans = cuda->tune(work, watch)};
}

}  // namespace stagewise
