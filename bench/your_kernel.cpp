// Put your kernel beside ours: write it where it says so, and
//   cmake --build build --target your_kernel && build/bench/your_kernel --shape n128_32x32x16_k16_3x3_s1
// times it and ours in turn, checks both against the reference before and after, and says how far from the machine's
// roof each is. The formula stands in tensor/backend.h (ConvolutionForward); images are NHWC, filters KRSC, padding zeros.
#include <iostream>

#include "bench/flags.h"
#include "bench/report.h"
#include "bench/timing.h"
#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"

namespace stagewise::bench {
namespace {

using primitive_cases::ConvolutionSize;

/// YOURS, in place of these plain loops. On one thread, or on as many as you like: then use roofs.all below.
void your_convolution(const float* x, const float* filters, float* y, const ConvolutionSize& size) {
  const auto& [images, height, width, channels, out_channels, rows, columns, options] = size;
  const Shape out = size.output();
  for (std::int64_t n = 0; n < images; ++n)
    for (std::int64_t p = 0; p < out[1]; ++p)
      for (std::int64_t q = 0; q < out[2]; ++q)
        for (std::int64_t k = 0; k < out_channels; ++k) {
          float sum = 0;
          for (std::int64_t r = 0; r < rows; ++r)
            for (std::int64_t s = 0; s < columns; ++s) {
              const std::int64_t h = p * options.stride + r - options.padding_before,
                                 w = q * options.stride + s - options.padding_before;
              if (h < 0 || h >= height || w < 0 || w >= width) continue;
              const float* const pixel = x + ((n * height + h) * width + w) * channels;
              const float* const tap = filters + ((k * rows + r) * columns + s) * channels;
              for (std::int64_t c = 0; c < channels; ++c) sum += pixel[c] * tap[c];
            }
          y[((n * out[1] + p) * out[2] + q) * out_channels + k] = sum;
        }
}

void register_both(const ConvolutionSize& size, const Roofs& roofs, Backend& ours) {
  const auto primitive = primitive_cases::convolution_forward(size, /*fused=*/false);
  const auto expected = std::make_shared<Expected>(primitive);
  TimedRow row{.name = primitive.name,
               .flops = primitive.flops,
               .bytes = primitive.traffic.bytes(DType::float32),
               .make = [=, &ours] { return timed_call(primitive.make(ours, DType::float32)); },
               .expected = expected,
               .tolerance = tolerance(primitive.reduction),
               .roof = roofs.one};
  register_row(row, /*cold=*/false, "ours");
  row.make = [size, &ours] {  // the same numbers as in primitive_cases::convolution_forward
    const Tensor x = primitive_cases::map(ours, size.input(), 1, DType::float32),
                 filters = primitive_cases::uniform(ours, size.filter(), 2), y(ours, size.output());
    return timed_call({[=] { your_convolution(x.data<float>(), filters.data<float>(), y.data<float>(), size); }, {y}});
  };
  register_row(row, /*cold=*/false, "yours");
}

}  // namespace
}  // namespace stagewise::bench

int main(int argc, char** argv) {
  using namespace stagewise;
  try {
    const auto size = bench::shape_flag(argc, argv)
                          .value_or(primitive_cases::ConvolutionSize{
                              32, 32, 32, 16, 16, 3, 3, {.stride = 1, .padding_before = 1, .padding_after = 1}});
    const auto ours = make_cpu_backend({.threads = 1});
    bench::register_both(size, bench::note_machine(argc, argv), *ours);
    return bench::run(argc, argv);
  } catch (const Error& error) {
    std::cerr << "your_kernel: " << error.what() << '\n';
    return 2;
  }
}
