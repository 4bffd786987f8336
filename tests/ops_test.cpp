// The op table: gradients against central differences, the fast backend against the reference, threads, and the native
// residual block against the same block composed of single ops.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "tests/op_cases.h"

namespace stagewise {
namespace {

using op_cases::all_op_cases;
using op_cases::OpCase;

/// What an op gives on a backend: its output and every input's gradient, as doubles.
std::vector<std::vector<double>> results(Backend& backend, DType dtype, const OpCase& op) {
  std::vector<Variable> inputs;
  for (std::size_t i = 0; i < op.inputs.size(); ++i) {
    inputs.emplace_back(Tensor::from_doubles(backend, op.inputs[i], op_cases::input_values(op.inputs[i], i), dtype),
                        true);
  }
  Tape tape;
  const Variable output = op.function({.tape = &tape, .training = true}, inputs);
  output.accumulate_grad(Tensor::from_doubles(backend, output.shape(), loss_weights(output.value().count()), dtype));
  const std::vector<double> value = output.value().to_doubles();
  tape.backward();
  std::vector<std::vector<double>> all = {value};
  for (const Variable& input : inputs) all.push_back(input.grad().to_doubles());
  return all;
}

/// The share of elements that are off by more than the tolerance, relative to the largest element, or to a tenth where
/// all are smaller: a gradient that is zero in theory (a bias before a batch norm) is the rounding of terms around one.
double share_off(const std::vector<double>& got, const std::vector<double>& expected, double tolerance) {
  double largest = 0.1;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  std::size_t off = got.size() == expected.size() ? 0 : std::max(got.size(), expected.size());
  for (std::size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    if (!(std::abs(got[i] - expected[i]) <= tolerance * largest)) ++off;
  }
  return static_cast<double>(off) / static_cast<double>(std::max<std::size_t>(expected.size(), 1));
}

std::vector<std::string> instruction_sets() {
  if (const char* const forced = std::getenv("STAGEWISE_INSTRUCTION_SET")) return {forced};
  return cpu_instruction_sets();
}

std::string test_name(const testing::TestParamInfo<OpCase>& info) {
  std::string name = info.param.name;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name + "_" + std::to_string(info.index);
}

std::vector<OpCase> differentiated_cases() {
  std::vector<OpCase> cases = all_op_cases();
  std::erase_if(cases, [](const OpCase& op) { return !op.differences; });
  return cases;
}

class Op : public testing::TestWithParam<OpCase> {};
class DifferentiatedOp : public testing::TestWithParam<OpCase> {};

TEST_P(DifferentiatedOp, GradientsAreCentralDifferences) {
  const auto backend = make_reference_backend(true);
  {
    std::vector<Tensor> inputs;
    std::int64_t elements = 0;
    for (std::size_t i = 0; i < GetParam().inputs.size(); ++i) {
      const Shape& shape = GetParam().inputs[i];
      inputs.push_back(Tensor::from_host(*backend, shape, op_cases::input_values(shape, i)));
      elements += shape.count();
    }
    const GradientCheck check = check_gradients(GetParam().function, inputs, elements > 4000 ? 6 : 40);
    EXPECT_LE(check.largest_error, 2e-6) << "input " << check.input << ", element " << check.element << ": analytic "
                                         << check.analytic << ", numeric " << check.numeric;
    EXPECT_GT(check.checked, 0);
    EXPECT_LE(check.kinks, check.checked / 20);
  }
  EXPECT_EQ(backend->allocator().statistics().guard_violations, 0);
}

TEST_P(Op, FastBackendAgreesWithTheReference) {
  const auto reference = make_reference_backend(true);
  const auto expected = results(*reference, DType::float64, GetParam());
  // Rounding errors of a sum grow like the square root of its length; a ReLU that switches on noise moves single
  // elements.
  const double tolerance = 4e-6 * std::sqrt(static_cast<double>(GetParam().reduction) + 16.0);
  for (const std::string& set : instruction_sets()) {
    const auto backend = make_cpu_backend({.threads = 2, .instruction_set = set, .guarded = true});
    const auto got = results(*backend, DType::float32, GetParam());
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(share_off(got[i], expected[i], tolerance), 0.0)
          << set << ", " << (i == 0 ? std::string("output") : "gradient of input " + std::to_string(i - 1));
    }
    EXPECT_EQ(backend->allocator().statistics().guard_violations, 0) << set;
  }
}

TEST_P(Op, TheNumberOfThreadsDoesNotChangeABit) {
  for (const std::string& set : instruction_sets()) {
    const auto one = results(*make_cpu_backend({.threads = 1, .instruction_set = set}), DType::float32, GetParam());
    for (const int threads : {2, 3}) {
      EXPECT_EQ(results(*make_cpu_backend({.threads = threads, .instruction_set = set}), DType::float32, GetParam()),
                one)
          << set << ", " << threads << " threads";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Op, testing::ValuesIn(all_op_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Table, DifferentiatedOp, testing::ValuesIn(differentiated_cases()), test_name);

/// The tape knows an op by its function's name.
TEST(OpTable, HasEveryOpOfTheHeader) {
  std::ifstream file(STAGEWISE_SOURCE_DIR "/autograd/functions.h");
  const std::string header{std::istreambuf_iterator<char>(file), {}};
  const std::regex declaration(R"(\nVariable (\w+)\()");
  std::set<std::string> missing;
  for (std::sregex_iterator found(header.begin(), header.end(), declaration), end; found != end; ++found) {
    missing.insert((*found)[1]);
  }
  EXPECT_GE(missing.size(), 9U);
  const auto backend = make_reference_backend();
  for (const OpCase& op : differentiated_cases()) {
    std::vector<Variable> inputs;
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      inputs.emplace_back(Tensor::from_host(*backend, op.inputs[i], op_cases::input_values(op.inputs[i], i)), true);
    }
    Tape tape;
    op.function({.tape = &tape, .training = true}, inputs);
    for (const std::string& name : tape.ops()) missing.erase(name);
  }
  EXPECT_EQ(missing, std::set<std::string>()) << "tests/op_cases.h lacks these ops of autograd/functions.h";
}

/// The block as its definition reads, of single ops.
Variable composed_block(const Context& context, const Variable& x, const ResidualBlockParameters& block) {
  const auto convolve = [&](const Variable& in, const ConvolutionParameters& parameters) {
    return conv2d(context, in, parameters.weight, parameters.bias, parameters.options);
  };
  const Variable hidden = batch_norm(context, convolve(x, block.conv1), block.conv1.batch_norm, true);
  const Variable sum = batch_norm(context, convolve(hidden, block.conv2), block.conv2.batch_norm);
  if (!block.projection.weight.defined()) return relu(context, add(context, sum, x));
  Variable skip = convolve(x, block.projection);
  if (block.projection.batch_norm.weight.defined()) skip = batch_norm(context, skip, block.projection.batch_norm);
  return relu(context, add(context, sum, skip));
}

TEST(ResidualBlock, IsTheBlockComposedOfSingleOps) {
  using op_cases::Skip;
  const auto backend = make_reference_backend();
  for (const auto& [skip, width, stride] :
       {std::tuple{Skip::identity, 4, 1}, {Skip::projection, 6, 2}, {Skip::paper, 6, 2}}) {
    const Shape x{2, 6, 4, 4};
    std::vector<std::vector<double>> running[2];
    std::vector<std::vector<double>> values[2];
    for (const bool native : {false, true}) {
      const OpCase op{
          "block", op_cases::block_inputs(x, width, skip),
          [&, skip = skip, stride = stride](const Context& context, const std::vector<Variable>& in) {
            const auto parameters = op_cases::block_parameters(in, stride, skip);
            const Variable out =
                native ? residual_block(context, in[0], parameters) : composed_block(context, in[0], parameters);
            for (const BatchNormParameters* bn : {&parameters.conv1.batch_norm, &parameters.conv2.batch_norm}) {
              running[native].push_back(bn->running_mean.to_doubles());
              running[native].push_back(bn->running_variance.to_doubles());
            }
            return out;
          }};
      values[native] = results(*backend, DType::float64, op);
    }
    for (std::size_t i = 0; i < values[0].size(); ++i) {
      EXPECT_EQ(share_off(values[1][i], values[0][i], 1e-11), 0.0)
          << "result " << i << ", skip " << static_cast<int>(skip);
    }
    for (std::size_t i = 0; i < running[0].size(); ++i) {
      EXPECT_EQ(share_off(running[1][i], running[0][i], 1e-12), 0.0);
      EXPECT_GT(share_off(running[1][i], std::vector<double>(running[1][i].size(), i % 2 ? 1.0 : 0.0), 1e-9), 0.0)
          << "the running statistics were not updated";
    }
  }
}

/// Blocks of three convolutions, of pre-activation and with padding, as their definitions read.
Variable composed_block(const Context& context, const Variable& x, const op_cases::AnyBlock& block,
                        const ResidualBlockParameters& parameters) {
  const bool pre_activation = block.pre_activation;
  const Variable read = pre_activation ? batch_norm(context, x, parameters.pre_activation, true) : x;
  Variable y = read;
  for (const ConvolutionParameters* const one : parameters.branch()) {
    y = conv2d(context, y, one->weight, one->bias, one->options);
    const bool last = one == parameters.branch().back();
    if (!last || !pre_activation) y = batch_norm(context, y, one->batch_norm, /*with_relu=*/!last);
  }
  Variable skip = x;
  if (parameters.pads()) {
    const auto& [stride, zeros, channels] = parameters.padding;
    skip = padded_shortcut(context, x, stride, zeros, channels);
  }
  if (parameters.projects()) {
    skip = conv2d(context, read, parameters.projection.weight, {}, parameters.projection.options);
    if (!pre_activation) skip = batch_norm(context, skip, parameters.projection.batch_norm);
  }
  const Variable sum = add(context, y, skip);
  return pre_activation ? sum : relu(context, sum);
}

TEST(ResidualBlock, OfEveryKindIsTheBlockComposedOfSingleOps) {
  const auto backend = make_reference_backend();
  for (int kind = 0; kind < 16; ++kind) {
    const bool pre_activation = (kind & 1) != 0, bottleneck = (kind & 2) != 0, changes = (kind & 4) != 0;
    const op_cases::AnyBlock block{pre_activation,  bottleneck,     {2, 6, 4, 4}, changes ? 6 : bottleneck ? 1 : 4,
                                   changes ? 2 : 1, (kind & 8) != 0};
    std::vector<std::vector<double>> values[2];
    for (const bool native : {false, true}) {
      const OpCase op{"block", block.inputs(), [&](const Context& context, const std::vector<Variable>& in) {
                        const auto parameters = block.parameters(in);
                        return native ? block.run(context, in[0], parameters)
                                      : composed_block(context, in[0], block, parameters);
                      }};
      values[native] = results(*backend, DType::float64, op);
    }
    for (std::size_t i = 0; i < values[0].size(); ++i) {
      EXPECT_EQ(share_off(values[1][i], values[0][i], 1e-11), 0.0) << block.name() << ", result " << i;
    }
  }
}

TEST(PreActivationBlock, HandsOnTheMomentsOfItsSum) {
  const op_cases::AnyBlock block{true, false, {2, 6, 5, 4}, 4, 1, false};
  for (const auto& backend : {make_reference_backend(), make_cpu_backend({.threads = 1})}) {
    std::vector<Variable> in;
    const std::vector<Shape> shapes = block.inputs();
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      const Shape& shape = shapes[i];
      in.emplace_back(Tensor::from_doubles(*backend, shape, op_cases::input_values(shape, i), DType::float32));
    }
    const Variable y = block.run({.training = true}, in[0], block.parameters(in));
    ASSERT_TRUE(y.moments().defined());
    const Tensor mean(*backend, {4}), variance(*backend, {4});
    backend->batch_norm_moments({.x = y.value(), .mean = mean, .variance = variance});
    EXPECT_EQ(share_off(y.moments().mean.to_doubles(), mean.to_doubles(), 1e-6), 0.0);
    EXPECT_EQ(share_off(y.moments().variance.to_doubles(), variance.to_doubles(), 1e-6), 0.0);
    EXPECT_FALSE(block.run({}, in[0], block.parameters(in)).moments().defined()) << "in evaluation nobody asks";
  }
}

/// Holds the CPU backend, on every instruction set, against the reference: the output and all gradients.
void expect_convolution_agrees(const op_cases::ConvolutionSize& size, bool with_bias) {
  const OpCase op = op_cases::convolution_case(size, with_bias);
  const auto reference = make_reference_backend(true);
  const auto expected = results(*reference, DType::float64, op);
  for (const std::string& set : instruction_sets()) {
    const auto backend = make_cpu_backend({.threads = 2, .instruction_set = set, .guarded = true});
    const auto got = results(*backend, DType::float32, op);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(share_off(got[i], expected[i], 4e-6 * std::sqrt(static_cast<double>(op.reduction) + 16.0)), 0.0)
          << op.name << ", " << set << ", result " << i;
    }
    EXPECT_EQ(backend->allocator().statistics().guard_violations, 0) << op.name << ", " << set;
  }
}

/// Whole numbers drawn one after the other.
class Draws {
 public:
  explicit Draws(const char* name) : random_(11, stream_of(name)) {}
  std::int64_t operator()(std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(random_.below(next_++, static_cast<std::uint64_t>(most - least + 1)));
  }

 private:
  Random random_;
  std::uint64_t next_ = 0;
};

TEST(ConvolutionFuzz, FastBackendAgreesWithTheReferenceOnRandomShapes) {
  Draws draw("convolution fuzz");
  for (int trial = 0; trial < 60; ++trial) {
    const op_cases::ConvolutionSize size{draw(1, 3),  draw(1, 19), draw(1, 40), draw(1, 37),
                                         draw(1, 70), draw(1, 5),  draw(1, 5),  {draw(1, 3), draw(0, 2), draw(0, 2)}};
    if (size.height + size.options.padding_before + size.options.padding_after < size.rows) continue;
    if (size.width + size.options.padding_before + size.options.padding_after < size.columns) continue;
    expect_convolution_agrees(size, trial % 2 == 0);
  }
}

TEST(ConvolutionFuzz, WinogradAgreesForEveryPaddingAndRemainder) {
  Draws draw("winograd fuzz");
  const auto backend = make_cpu_backend();
  std::map<std::string, int> taken;
  for (int trial = 0; trial < 54; ++trial) {
    const Conv2dOptions options{1 + trial % 2, trial / 2 % 3, trial / 6 % 3};
    const op_cases::ConvolutionSize size{draw(1, 4),   draw(9, 19), draw(9, 19), draw(57, 64),
                                         draw(57, 64), 3,           3,           options};
    expect_convolution_agrees(size, false);
    for (const ConvolutionPlanText& plan :
         backend->convolution_plan({size.images, size.height, size.width, size.channels},
                                   {size.filters, 3, 3, size.channels}, options, DType::float32)) {
      taken[concat(plan.algorithm, ' ', plan.direction, ", stride ", options.stride)] += 1;
    }
  }
  for (const char* direction : {"forward", "by data", "by weights"}) {
    EXPECT_EQ(taken[concat("winograd ", direction, ", stride 1")], 27);
    // Many remainders make the direct way shorter here, and padding 2 always goes it.
    EXPECT_GE(taken[concat("winograd ", direction, ", stride 2")], 6) << direction;
  }
}

}  // namespace
}  // namespace stagewise
