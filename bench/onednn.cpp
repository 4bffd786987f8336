// oneDNN's convolutions beside ours, at the shapes of CIFAR-10's networks, or of any that has a name, whose step is then
// summed up: `--network resnet50 --batch 8`. The rows of one shape stand together. oneDNN's layouts: `blocked`, whichever it
// likes best for all three tensors, without the time to get there and back, and `nhwc`, our activations' layout with the
// filters as it likes. All run on every core.
#include <array>
#include <cmath>
#include <iostream>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "bench/flags.h"
#include "bench/report.h"
#include "bench/timing.h"
#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "layers/cost.h"
#include "layers/presets.h"

namespace stagewise::bench {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using primitive_cases::ConvolutionSize;
using primitive_cases::PrimitiveCase;

enum class Pass { forward, backward_data, backward_weights };
constexpr Pass kPasses[] = {Pass::forward, Pass::backward_data, Pass::backward_weights};

/// A convolution, and how often each pass over it is in a step.
struct Repeated {
  ConvolutionSize size;
  std::int64_t times = 1, times_by_data = 1;

  std::int64_t times_of(Pass pass) const { return pass == Pass::backward_data ? times_by_data : times; }
};

struct Setup {
  ConvolutionSize size;
  Pass pass;
  algorithm kind;
  bool nhwc;
};

const dnnl::engine& engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::stream& stream() {
  static dnnl::stream stream(engine());
  return stream;
}

/// oneDNN's order of the dimensions is NCHW, and OIHW for filters, whatever the layout.
memory::desc described(const Shape& shape, memory::format_tag layout) {
  return {{shape[0], shape[3], shape[1], shape[2]}, memory::data_type::f32, layout};
}

struct Plan {
  dnnl::primitive primitive;
  memory::desc x, weight, y;  // with the gradients' layouts in the backward passes
};

/// Throws dnnl::error where oneDNN has no such convolution.
Plan plan(const Setup& setup) {
  using Forward = dnnl::convolution_forward;
  using BackwardData = dnnl::convolution_backward_data;
  using BackwardWeights = dnnl::convolution_backward_weights;
  const ConvolutionSize& size = setup.size;
  const auto activations = setup.nhwc ? memory::format_tag::nhwc : memory::format_tag::any;
  const memory::desc x = described(size.input(), activations), y = described(size.output(), activations),
                     weight = described(size.filter(), memory::format_tag::any);
  const memory::dims stride(2, size.options.stride), before(2, size.options.padding_before),
      after(2, size.options.padding_after);
  const Forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, setup.kind, x, weight, y, stride, before, after}, engine());
  if (setup.pass == Pass::forward) {
    return {Forward(forward), forward.src_desc(), forward.weights_desc(), forward.dst_desc()};
  }
  if (setup.pass == Pass::backward_data) {
    const BackwardData::primitive_desc backward({setup.kind, x, weight, y, stride, before, after}, engine(), forward);
    return {BackwardData(backward), backward.diff_src_desc(), backward.weights_desc(), backward.diff_dst_desc()};
  }
  const BackwardWeights::primitive_desc backward({setup.kind, x, weight, y, stride, before, after}, engine(), forward);
  return {BackwardWeights(backward), backward.src_desc(), backward.diff_weights_desc(), backward.diff_dst_desc()};
}

void reorder(memory from, memory to) {
  dnnl::reorder(from, to).execute(stream(), from, to);
  stream().wait();
}

memory filled(const memory::desc& layout, const Shape& shape, memory::format_tag ours, std::vector<float> values) {
  memory filled(layout, engine());
  reorder(memory(described(shape, ours), engine(), values.data()), filled);
  return filled;
}

std::vector<double> elements(const memory& from, const Shape& shape, memory::format_tag ours) {
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  reorder(from, memory(described(shape, ours), engine(), values.data()));
  return {values.begin(), values.end()};
}

/// The same values as PrimitiveCase's: the first input is stream 1, the second stream 2.
TimedCall onednn_call(const Setup& setup) {
  struct Role {
    memory::desc layout;
    Shape shape;
    memory::format_tag ours;
    int argument;
  };
  const Plan planned = plan(setup);
  const auto nhwc = memory::format_tag::nhwc, krsc = memory::format_tag::ohwi;
  const bool forward = setup.pass == Pass::forward, data = setup.pass == Pass::backward_data;
  const Role x{planned.x, setup.size.input(), nhwc, data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC};
  const Role weight{planned.weight, setup.size.filter(), krsc,
                    forward || data ? DNNL_ARG_WEIGHTS : DNNL_ARG_DIFF_WEIGHTS};
  const Role y{planned.y, setup.size.output(), nhwc, forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST};
  const std::vector<Role> inputs = forward ? std::vector{x, weight} : data ? std::vector{y, weight} : std::vector{x, y};
  const Role output = forward ? y : data ? x : weight;

  static const auto host = make_reference_backend();
  std::unordered_map<int, memory> arguments;
  for (std::uint64_t i = 0; i < inputs.size(); ++i) {
    const Role& input = inputs[i];
    arguments[input.argument] = filled(input.layout, input.shape, input.ours,
                                       primitive_cases::uniform(*host, input.shape, i + 1).to_host<float>());
  }
  const memory result = arguments[output.argument] = memory(output.layout, engine());
  return {[=] {
            planned.primitive.execute(stream(), arguments);
            stream().wait();
          },
          [=] { return Values{elements(result, output.shape, output.ours)}; }};
}

bool supported(const Setup& setup) {
  try {
    plan(setup);
    return true;
  } catch (const dnnl::error&) {
    return false;
  }
}

PrimitiveCase our_case(const ConvolutionSize& size, Pass pass, bool fused) {
  using namespace primitive_cases;
  if (pass == Pass::forward) return convolution_forward(size, fused);
  if (pass == Pass::backward_data) return convolution_backward_data(size, fused);
  return convolution_backward_weights(size, fused);
}

void register_ours(const std::string& name, const PrimitiveCase& primitive, const Roof& roof, Backend& backend) {
  const TimedRow row{.name = name,
                     .flops = primitive.flops,
                     .bytes = primitive.traffic.bytes(DType::float32),
                     .make = [=, &backend] { return timed_call(primitive.make(backend, DType::float32)); },
                     .expected = std::make_shared<Expected>(primitive),
                     .tolerance = tolerance(primitive.reduction),
                     .roof = roof};
  for (const bool cold : {false, true}) register_row(row, cold);
}

std::string onednn_name(const std::string& primitive, algorithm kind, bool nhwc) {
  return concat(primitive, "/onednn_", kind == algorithm::convolution_winograd ? "winograd" : "direct",
                nhwc ? "_nhwc" : "_blocked");
}

void register_onednn(const PrimitiveCase& primitive, const std::shared_ptr<Expected>& expected, const Setup& setup,
                     const Roof& roof) {
  const std::string name = onednn_name(primitive.name, setup.kind, setup.nhwc);
  if (!supported(setup)) {
    benchmark::RegisterBenchmark(name.c_str(), [](benchmark::State& state) {
      state.SkipWithError(kUnsupported);
    })->UseRealTime();
    return;
  }
  const bool winograd = setup.kind == algorithm::convolution_winograd;
  const TimedRow row{.name = name,
                     .flops = primitive.flops,
                     .bytes = primitive.traffic.bytes(DType::float32),
                     .make = [=] { return onednn_call(setup); },
                     .expected = expected,
                     // Its Winograd's tiles are larger than ours, and so are its rounding errors.
                     .tolerance = (winograd ? 30 : 3) * tolerance(primitive.reduction),
                     .roof = roof};
  for (const bool cold : {false, true}) register_row(row, cold);
}

void register_convolutions(const std::vector<Repeated>& convolutions, const Roof& roof, Backend& backend) {
  for (const Repeated& convolution : convolutions) {
    for (const Pass pass : kPasses) {
      if (convolution.times_of(pass) == 0) continue;
      const PrimitiveCase plain = our_case(convolution.size, pass, false);
      register_ours(plain.name + "/ours", plain, roof, backend);
      register_ours(plain.name + "/ours_fused", our_case(convolution.size, pass, true), roof, backend);
      const auto expected = std::make_shared<Expected>(plain);
      for (const algorithm kind : {algorithm::convolution_direct, algorithm::convolution_winograd}) {
        for (const bool nhwc : {false, true}) {
          register_onednn(plain, expected, {convolution.size, pass, kind, nhwc}, roof);
        }
      }
    }
  }
}

/// The images' gradient is nobody's: the first convolution has no pass by data.
std::vector<Repeated> convolutions_of_network(const std::string& name, std::int64_t batch) {
  std::vector<Repeated> convolutions;
  for (const auto& [convolution, count] : distinct_convolutions(preset(name))) {
    const Shape &x = convolution.input, &filter = convolution.filter;
    convolutions.push_back({{batch, x[1], x[2], x[3], filter[0], filter[1], filter[2], convolution.options},
                            count,
                            convolutions.empty() ? 0 : count});
  }
  return convolutions;
}

/// The fastest of the rows with these names; infinite where none was timed.
double fastest(const std::vector<std::string>& names, const Medians& medians) {
  double seconds = INFINITY;
  for (const std::string& name : names) {
    const auto found = medians.find(name + "/cold");
    if (found != medians.end()) seconds = std::min(seconds, found->second);
  }
  return seconds;
}

/// What one pass over a convolution takes: ours, ours fused, oneDNN's on our layout and on its own.
std::array<double, 4> seconds_of(const Repeated& convolution, Pass pass, const Medians& medians) {
  const std::string name = our_case(convolution.size, pass, false).name;
  const auto theirs = [&](bool nhwc) {
    return fastest({onednn_name(name, algorithm::convolution_direct, nhwc),
                    onednn_name(name, algorithm::convolution_winograd, nhwc)},
                   medians);
  };
  return {fastest({name + "/ours"}, medians), fastest({name + "/ours_fused"}, medians), theirs(true), theirs(false)};
}

void print_sum(const char* name, const std::array<double, 4>& seconds) {
  std::printf("%-12s", name);
  for (const double sum : seconds) std::isfinite(sum) ? std::printf(" %10.1f", 1e3 * sum) : std::printf(" %10s", "-");
  std::printf("\n");
}

/// All convolutions of a step, each as often as the network has it; a line where a filter left out one of them.
void print_sums(const std::string& network, const std::vector<Repeated>& convolutions, const Medians& medians) {
  std::printf("\nAll convolutions of a step of %s, cold, ms; the faster one of oneDNN's algorithms for each:\n",
              network.c_str());
  std::printf("%-12s %10s %10s %10s %10s\n", "", "ours", "fused", "NHWC", "blocked");
  std::array<double, 4> together{};
  for (const Pass pass : kPasses) {
    std::array<double, 4> sums{};
    for (const Repeated& convolution : convolutions) {
      const std::int64_t times = convolution.times_of(pass);
      if (times == 0) continue;
      const std::array<double, 4> seconds = seconds_of(convolution, pass, medians);
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<double>(times) * seconds[i];
    }
    print_sum(pass == Pass::forward ? "forward" : pass == Pass::backward_data ? "by data" : "by weights", sums);
    for (std::size_t i = 0; i < sums.size(); ++i) together[i] += sums[i];
  }
  print_sum("together", together);
}

/// Three stages, the strided convolutions, the projections and the stem of CIFAR-10's networks.
std::vector<Repeated> cifar_convolutions(std::int64_t batch) {
  std::vector<Repeated> convolutions;
  for (const ConvolutionSize& size : primitive_cases::network_convolutions(batch)) convolutions.push_back({size});
  return convolutions;
}

}  // namespace
}  // namespace stagewise::bench

int main(int argc, char** argv) {
  using namespace stagewise;
  try {
    const std::optional<std::string> network = bench::take_flag("--network", argc, argv);
    const std::int64_t batch = bench::batch_flag(argc, argv).value_or(128);
    const std::vector<bench::Repeated> convolutions =
        network ? bench::convolutions_of_network(*network, batch) : bench::cifar_convolutions(batch);
    const auto backend = make_cpu_backend();
    const bench::Roofs roofs = bench::note_machine(argc, argv);
    const dnnl_version_t& version = *dnnl_version();
    benchmark::AddCustomContext("onednn", concat(version.major, ".", version.minor, ".", version.patch));
    bench::register_convolutions(convolutions, roofs.all, *backend);
    return bench::run(argc, argv, {}, [&](const bench::Medians& medians) {
      if (network) bench::print_sums(*network, convolutions, medians);
    });
  } catch (const Error& error) {
    std::cerr << "onednn: " << error.what() << '\n';
    return 2;
  }
}
