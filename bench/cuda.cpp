// Every primitive on the GPU, in the ways that only hardware can choose between: cuDNN or our direct convolution, TF32
// or exact float32, bfloat16 with cuDNN's fused graphs or in parts, the gradient of the filters by our own kernel or by
// cuDNN; and a whole batch norm beside cuDNN's. Each row is one call and the wait for it; the first row is the wait alone,
// to be taken off the short ones. The gradients of the filters stand there once more (`16_replayed`) without it.
#include <iostream>

#include "bench/card_roof.h"
#include "bench/cudnn_batch_norm.h"
#include "bench/report.h"
#include "bench/timing.h"
#include "cuda/cuda_backend.h"

namespace stagewise::bench {
namespace {

constexpr std::int64_t kBatch = 128;

struct Device {
  std::string suffix;
  std::unique_ptr<Backend> backend;
  DType maps = DType::float32;
  double rounding = 0;    // of operands, relative
  std::string only = "";  // how the primitives begin that are run on it
};

std::vector<Device> devices() {
  const std::string convolutions = "convolution", filters = "convolution_backward_weights/";
  constexpr double kTf32 = 1.0 / 512, kBf16 = 1.0 / 64;
  std::vector<Device> all;
  all.push_back({"fp32", make_cuda_backend()});
  all.push_back({"fp32_cudnn", make_cuda_backend({.own_filter_gradient = false}), DType::float32, 0.0, filters});
  all.push_back({"tf32", make_cuda_backend({.tf32 = true}), DType::float32, kTf32, convolutions});
  all.push_back(
      {"tf32_cudnn", make_cuda_backend({.tf32 = true, .own_filter_gradient = false}), DType::float32, kTf32, filters});
  all.push_back({"direct", make_cuda_backend({.direct_convolution = true}), DType::float32, 0.0, convolutions});
  if (all.front().backend->supports(DType::bfloat16)) {
    all.push_back({"bf16", make_cuda_backend(), DType::bfloat16, kBf16});
    all.push_back({"bf16_cudnn", make_cuda_backend({.own_filter_gradient = false}), DType::bfloat16, kBf16, filters});
    all.push_back({"bf16_parts", make_cuda_backend({.fuse = false}), DType::bfloat16, kBf16, convolutions});
  }
  return all;
}

void register_primitives(const Roof& roof, const std::vector<Device>& devices) {
  for (const auto& primitive : primitive_cases::bench_cases(kBatch)) {
    const auto expected = std::make_shared<Expected>(primitive);
    for (const Device& device : devices) {
      if (!primitive.name.starts_with(device.only)) continue;
      if (device.maps == DType::bfloat16 && primitive.traffic.maps == 0) continue;
      register_row({.name = primitive.name,
                    .flops = primitive.flops,
                    .bytes = primitive.traffic.bytes(device.maps),
                    .make =
                        [primitive, maps = device.maps, on = device.backend.get()] {
                          TimedCall call = timed_call(primitive.make(*on, maps));
                          call.run = [run = call.run, on] {
                            run();
                            on->synchronise();
                          };
                          return call;
                        },
                    .expected = expected,
                    .tolerance = tolerance(primitive.reduction) + device.rounding,
                    .roof = roof},
                   /*cold=*/true, device.suffix);
    }
  }
}

/// The gradient of the filters at the networks' shapes, sixteen calls in a row, recorded as a training step is: what the
/// kernels take, without a launch or a wait for each.
void register_filter_gradients(const Roof& roof, const std::vector<Device>& devices) {
  constexpr int kCalls = 16;
  for (const std::int64_t batch : {std::int64_t{128}, std::int64_t{1024}}) {
    for (const primitive_cases::ConvolutionSize& size : primitive_cases::network_convolutions(batch)) {
      const auto primitive = primitive_cases::convolution_backward_weights(size, /*fused=*/false);
      for (const Device& device : devices) {
        if (device.suffix == "direct" || device.suffix == "bf16_parts") continue;
        benchmark::RegisterBenchmark(
            concat(primitive.name, "/16_replayed/", device.suffix).c_str(),
            [primitive, roof, maps = device.maps, on = device.backend.get()](benchmark::State& state) {
              const primitive_cases::Call call = primitive.make(*on, maps);
              call.run();
              const auto recording = on->record([&] {
                for (int i = 0; i < kCalls; ++i) call.run();
              });
              if (!recording) return state.SkipWithError("can't be recorded");
              for ([[maybe_unused]] auto _ : state) {
                recording->replay();
                on->synchronise();
              }
              count(state, kCalls * primitive.flops, kCalls * primitive.traffic.bytes(maps), roof);
            })
            ->UseRealTime();
      }
    }
  }
}

}  // namespace
}  // namespace stagewise::bench

int main(int argc, char** argv) {
  using namespace stagewise;
  if (const std::string why = cuda_unavailable(); !why.empty()) {
    std::cerr << why << '\n';
    return 2;
  }
  const std::vector<bench::Device> devices = bench::devices();
  const bench::Roof roof = bench::copy_roof(*devices.front().backend);
  std::cout << devices.front().backend->description() << "; copies " << roof.gigabytes << " GB/s\n";
  benchmark::AddCustomContext("device", devices.front().backend->description());
  benchmark::RegisterBenchmark("wait", [gpu = devices.front().backend.get()](benchmark::State& state) {
    for ([[maybe_unused]] auto _ : state) gpu->synchronise();
  })->UseRealTime();
  bench::register_primitives(roof, devices);
  bench::register_filter_gradients(roof, devices);
  for (const Shape& shape :
       {Shape{bench::kBatch, 32, 32, 16}, Shape{bench::kBatch, 16, 16, 32}, Shape{bench::kBatch, 8, 8, 64}}) {
    bench::register_batch_norms(shape, *devices.front().backend, roof);
  }
  return bench::run(argc, argv, {.columns = {{"GFLOP/s"}, {"GB/s"}, {"roof", true}}});
}
