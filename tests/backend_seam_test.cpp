// The seam for others: that a backend which brings the least (tests/tiny_backend.h) computes what the reference does
// and trains, what each backend lacks, and that docs/tensor.md says how the framework calls them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <regex>

#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "layers/inference.h"
#include "layers/sgd.h"
#include "tests/draw_checks.h"
#include "tests/lacking.h"
#include "tests/noting_backend.h"
#include "tests/tiny_backend.h"

namespace stagewise {
namespace {

using primitive_cases::coefficients;
using primitive_cases::PrimitiveCase;
using primitive_cases::uniform;

/// What training can do without, and so the tiny backend.
const std::set<std::string> kBeyondTraining = {"accumulate_moments", "adamw_step",        "augment", "average_step",
                                               "max_pool_forward",   "max_pool_backward", "softmax"};

void expect_near(const std::vector<Tensor>& got, const std::vector<Tensor>& expected, double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::vector<double> values = got[i].to_doubles(), truth = expected[i].to_doubles();
    ASSERT_EQ(values.size(), truth.size());
    double largest = 0.1;
    for (const double value : truth) largest = std::max(largest, std::abs(value));
    for (std::size_t j = 0; j < values.size(); ++j) {
      ASSERT_TRUE(std::abs(values[j] - truth[j]) <= tolerance * largest)
          << "output " << i << ", element " << j << ": " << values[j] << ", expected " << truth[j];
    }
  }
}

std::vector<PrimitiveCase> training_cases() {
  std::vector<PrimitiveCase> cases = primitive_cases::test_cases();
  std::erase_if(cases, [](const PrimitiveCase& primitive) {
    return kBeyondTraining.contains(primitive.name.substr(0, primitive.name.find('/')));
  });
  return cases;
}

class TinyPrimitive : public testing::TestWithParam<PrimitiveCase> {};

TEST_P(TinyPrimitive, AgreesWithTheReference) {
  TinyBackend tiny;
  const auto reference = make_reference_backend();
  {
    const primitive_cases::Call got = GetParam().make(tiny, DType::float32),
                                expected = GetParam().make(*reference, DType::float32);
    got.run();
    expected.run();
    // Sums are in float, one term after another.
    expect_near(got.outputs, expected.outputs, 1e-5 * std::sqrt(static_cast<double>(GetParam().reduction) + 16.0));
  }
  EXPECT_EQ(tiny.allocator().statistics().guard_violations, 0);
}

INSTANTIATE_TEST_SUITE_P(Table, TinyPrimitive, testing::ValuesIn(training_cases()), [](const auto& info) {
  std::string name = info.param.name;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});

/// What the seam allows and the table of primitives doesn't try: outputs that are inputs, and all fields at once.
std::vector<std::pair<std::string, std::function<std::vector<Tensor>(Backend&)>>> calls_in_place() {
  const Shape in{2, 7, 6, 5}, out{2, 4, 3, 3}, filter{3, 3, 3, 5};
  const Conv2dOptions options{2, 1, 1};
  return {{"forward, all at once",
           [=](Backend& backend) -> std::vector<Tensor> {
             const Tensor y = uniform(backend, out, 3), mean(backend, {3}), variance(backend, {3});
             backend.convolution_forward({.x = uniform(backend, in, 1),
                                          .weight = uniform(backend, filter, 2),
                                          .bias = uniform(backend, {3}, 4),
                                          .y = y,
                                          .options = options,
                                          .input_batch_norm = coefficients(backend, 5, 5),
                                          .mean = mean,
                                          .variance = variance,
                                          .addend = y});
             return {y, mean, variance};
           }},
          {"forward, addend and ReLU in place",
           [=](Backend& backend) -> std::vector<Tensor> {
             const Tensor y = uniform(backend, out, 3);
             backend.convolution_forward({.x = uniform(backend, in, 1),
                                          .weight = uniform(backend, filter, 2),
                                          .y = y,
                                          .options = options,
                                          .addend = y,
                                          .relu = true});
             return {y};
           }},
          {"by data, all at once",
           [=](Backend& backend) -> std::vector<Tensor> {
             const Tensor dx = uniform(backend, in, 1);
             const BatchNormGradients gradients{Tensor(backend, {5}), Tensor(backend, {5})};
             backend.convolution_backward_data({.dy = uniform(backend, out, 2),
                                                .weight = uniform(backend, filter, 3),
                                                .addend = dx,
                                                .dx = dx,
                                                .options = options,
                                                .x = uniform(backend, in, 4),
                                                .input_batch_norm = coefficients(backend, 5, 5),
                                                .relu_output = uniform(backend, in, 9),
                                                .gradients = gradients});
             return {dx, gradients.weight, gradients.bias};
           }},
          {"by weights, all at once",
           [=](Backend& backend) -> std::vector<Tensor> {
             const Tensor dy = uniform(backend, out, 1), d_weight(backend, filter), d_bias(backend, {3});
             backend.convolution_backward_weights({.x = uniform(backend, in, 2),
                                                   .input_batch_norm = coefficients(backend, 5, 3),
                                                   .dy = dy,
                                                   .d_weight = d_weight,
                                                   .d_bias = d_bias,
                                                   .options = options,
                                                   .output_batch_norm = coefficients(backend, 3, 7),
                                                   .y = uniform(backend, out, 11),
                                                   .gradients = {uniform(backend, {3}, 12), uniform(backend, {3}, 13)},
                                                   .dy_out = dy});
             return {d_weight, dy, d_bias};
           }},
          {"element by element",
           [=](Backend& backend) -> std::vector<Tensor> {
             const Tensor a = uniform(backend, {11}, 1), b = uniform(backend, {11}, 2), c = uniform(backend, {11}, 3),
                          d = uniform(backend, {11}, 4);
             backend.add(a, b, a);
             backend.add(a, b, b);
             backend.relu_forward(a, a);
             backend.relu_backward(a, c, a);
             backend.relu_backward(b, d, d);
             return {a, b, d};
           }},
          {"linear, the bias's gradient alone", [=](Backend& backend) -> std::vector<Tensor> {
             const Tensor d_bias(backend, {3});
             backend.linear_backward({.x = uniform(backend, {5, 7}, 1),
                                      .weight = uniform(backend, {3, 7}, 2),
                                      .dy = uniform(backend, {5, 3}, 3),
                                      .d_bias = d_bias});
             return {d_bias};
           }}};
}

TEST(ComposedBackend, DoesInPlaceWhatTheSeamAllows) {
  for (const auto& [name, call] : calls_in_place()) {
    SCOPED_TRACE(name);
    TinyBackend tiny;
    const auto reference = make_reference_backend();
    expect_near(call(tiny), call(*reference), 1e-5);
    EXPECT_EQ(tiny.allocator().statistics().guard_violations, 0);
  }
}

TEST(ComposedBackend, DrawsWhatEveryBackendDoes) {
  TinyBackend tiny;
  expect_numbers<float>(tiny);
  expect_augmentation(tiny);
  EXPECT_EQ(tiny.allocator().statistics().guard_violations, 0);
}

/// One that can fuse a little: of a forward convolution a bias, once all else is done.
class FusingBackend final : public TinyBackend {
 public:
  std::string asked;
  void convolution_forward(const ConvolutionForward& call) override {
    asked += concat(call.mean.defined() ? " mean" : "", call.input_batch_norm.defined() ? " input_batch_norm" : "",
                    call.bias.defined() ? " bias" : "", ";");
    if (call.mean.defined() || call.input_batch_norm.defined() || !call.bias.defined()) {
      return ComposedBackend::convolution_forward(call);
    }
    bare_convolution_forward({.x = call.x, .weight = call.weight, .y = call.y, .options = call.options});
    add_bias(call.y, call.bias, {}, false, call.y);
  }
};

TEST(ComposedBackend, AsksForWhatIsLeftUntilABackendTakesIt) {
  FusingBackend backend;
  const Tensor y(backend, {2, 7, 6, 3}), mean(backend, {3}), variance(backend, {3});
  const ConvolutionForward call{.x = uniform(backend, {2, 7, 6, 5}, 1),
                                .weight = uniform(backend, {3, 1, 1, 5}, 2),
                                .bias = uniform(backend, {3}, 3),
                                .y = y,
                                .input_batch_norm = coefficients(backend, 5, 4),
                                .mean = mean,
                                .variance = variance};
  backend.convolution_forward(call);
  EXPECT_EQ(backend.asked, " mean input_batch_norm bias; input_batch_norm bias; bias;");
}

/// One that has not come so far.
class WithoutBatchNorm final : public TinyBackend {
  void batch_norm_forward(const BatchNormForward&) override { lacks("batch_norm_forward"); }
};

TEST(Backends, NameThePrimitivesThatTheyLack) {
  EXPECT_EQ(lacking(*make_reference_backend()), std::set<std::string>());
  for (const std::string& set : cpu_instruction_sets()) {
    EXPECT_EQ(lacking(*make_cpu_backend({.threads = 2, .instruction_set = set})), std::set<std::string>()) << set;
  }
  TinyBackend tiny;
  EXPECT_EQ(lacking(tiny), kBeyondTraining);
  WithoutBatchNorm without_batch_norm;
  std::set<std::string> expected = kBeyondTraining;
  expected.insert("batch_norm_forward");
  EXPECT_EQ(lacking(without_batch_norm), expected) << "what is made of it must name it";
  try {
    tiny.softmax(Tensor(tiny, {1, 1}), Tensor(tiny, {1, 1}));
    FAIL() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "[backend] `tiny` lacks softmax");
  }
}

std::string text_of(const std::string& path) {
  std::ifstream file(std::string(STAGEWISE_SOURCE_DIR) + "/" + path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_FALSE(text.empty()) << path;
  return text;
}

TEST(PrimitiveTable, HasEveryPrimitiveOfTheSeam) {
  // Memory, recording, and what is for people to read.
  const std::set<std::string> no_arithmetic = {
      "name", "description", "supports", "allocator",  "copy_from_host",   "copy_to_host", "copy",
      "fill", "synchronise", "record",   "can_record", "convolution_plan", "expect_batch"};
  const std::string header = text_of("tensor/backend.h");
  const std::regex declaration(R"(\n  virtual [^;({~]*?(\w+)\()");
  std::set<std::string> declared;
  for (std::sregex_iterator found(header.begin() + static_cast<std::ptrdiff_t>(header.find("class Backend {")),
                                  header.end(), declaration),
       end;
       found != end; ++found) {
    declared.insert((*found)[1]);
  }
  for (const std::string& name : no_arithmetic) EXPECT_EQ(declared.erase(name), 1U) << name;
  EXPECT_GE(declared.size(), 20U);

  const auto reference = make_reference_backend();
  NotingBackend noting(*reference);
  for (const PrimitiveCase& primitive : shortest_cases()) primitive.make(noting, DType::float32).run();
  std::set<std::string> missing;
  std::set_difference(declared.begin(), declared.end(), noting.primitives().begin(), noting.primitives().end(),
                      std::inserter(missing, missing.end()));
  EXPECT_EQ(missing, std::set<std::string>()) << "tests/primitive_cases.h lacks these primitives of tensor/backend.h";
}

struct Trainee {
  Network network;
  Sgd optimiser;
  Tensor images, labels, totals;

  Trainee(Backend& backend, Variant variant, DType maps = DType::float32, BlockKind block = BlockKind::basic)
      : network(backend, architecture(variant, block), 3),
        images(uniform(backend, {12, 8, 8, 3}, 1, -2.0, 2.0, maps)),
        labels(primitive_cases::labels(backend, 12, 3)),
        totals(Tensor::zeros(backend, {2}, DType::float64)) {}

  static Architecture architecture(Variant variant, BlockKind block) {
    Architecture architecture = Architecture::of_depths({2, 2}, variant, {.block = block});
    architecture.height = architecture.width = 8;
    architecture.classes = 3;
    return architecture;
  }
  Variable forward(const Context& context) { return network.forward(context, Variable(images)); }
  template <class Rate>
  double step(const Rate& rate) {
    Tape tape;
    const Context context{.tape = &tape, .training = true};
    const Variable loss = softmax_cross_entropy(context, forward(context), labels, 0.1, totals);
    tape.backward(loss);
    optimiser.step(network, rate);
    return loss.value().to_doubles()[0];
  }
  Tensor infer() const { return InferenceNetwork(network).logits(images); }
};

TEST(TinyBackend, TrainsAsTheReferenceDoes) {
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    TinyBackend tiny;
    const auto reference = make_reference_backend();
    {
      Trainee on_tiny(tiny, variant), on_reference(*reference, variant);
      double first = 0, last = 0;
      for (int step = 0; step < 12; ++step) {
        last = on_tiny.step(0.05);
        if (step == 0) first = last;
        EXPECT_NEAR(last, on_reference.step(0.05), 1e-3) << name_of(variant) << ", step " << step;
      }
      EXPECT_LT(last, 0.7 * first) << name_of(variant);
      expect_near({on_tiny.totals, on_tiny.forward(Context{}).value(), on_tiny.infer()},
                  {on_reference.totals, on_reference.forward(Context{}).value(), on_reference.infer()}, 1e-2);
    }
    EXPECT_EQ(tiny.allocator().statistics().guard_violations, 0) << name_of(variant);
  }
}

TEST(Prepared, ServesAnyNumberOfImages) {
  const auto logits = [](Backend& backend, std::int64_t of, std::int64_t serves, const Conv2dOptions& options) {
    ConvolutionForward call{.x = uniform(backend, {serves, 9, 8, 40}, 1),
                            .weight = uniform(backend, {40, 3, 3, 40}, 2),
                            .options = options};
    call.y = Tensor(backend, {serves, options.output_size(9, 3), options.output_size(8, 3), 40});
    if (of > 0) call.prepared = backend.convolution_prepare({of, 9, 8, 40}, call.weight, options);
    backend.convolution_forward(call);
    return call.y.to_doubles();
  };
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(make_reference_backend(true));
  backends.push_back(std::make_unique<TinyBackend>());
  for (const std::string& set : cpu_instruction_sets()) {
    backends.push_back(make_cpu_backend({.threads = 2, .instruction_set = set, .guarded = true}));
    backends.push_back(
        make_cpu_backend({.threads = 2, .instruction_set = set, .strict_convolution = true, .guarded = true}));
  }
  for (const auto& backend : backends) {
    for (const std::int64_t stride : {1, 2}) {
      for (const std::int64_t serves : {1, 3, 33}) {
        const std::vector<double> unprepared = logits(*backend, 0, serves, {stride, 1, 1});
        for (const std::int64_t of : {1, 5, 64}) {
          EXPECT_EQ(logits(*backend, of, serves, {stride, 1, 1}), unprepared)
              << backend->description() << ": of " << of << " images, for " << serves << ", stride " << stride;
        }
      }
    }
    EXPECT_EQ(backend->allocator().statistics().guard_violations, 0) << backend->description();
  }
}

/// What a network's life asks of a backend, by row and phase.
std::map<NotingBackend::Row, std::set<std::string>> rows_of(Variant variant, DType maps,
                                                            BlockKind block = BlockKind::basic) {
  const auto cpu = make_cpu_backend({.threads = 2});
  NotingBackend noting(*cpu);
  Trainee trainee(noting, variant, maps, block);
  noting.set_phase("train");
  trainee.step(0.05);
  trainee.step(Tensor::full(noting, {1}, 0.05));  // as a recorded step does
  noting.set_phase("statistics");
  trainee.forward(Context{.training = true, .statistics_momentum = 0.5});
  noting.set_phase("evaluate");
  trainee.forward(Context{});
  std::vector<Tensor> stage_sums;
  trainee.network.evaluate(trainee.images, &stage_sums);
  softmax_cross_entropy(Context{}, Variable(Tensor::zeros(noting, {12, 3})), trainee.labels, 0.0, trainee.totals);
  noting.set_phase("infer");
  trainee.infer();
  return noting.rows();
}

std::string joined(const std::set<std::string>& phases) {
  std::string text;
  for (const char* phase : {"train", "statistics", "evaluate", "infer"}) {
    if (phases.contains(phase)) text += concat(text.empty() ? "" : ", ", phase);
  }
  return text.empty() ? "-" : text;
}

TEST(Docs, TheTableOfOptionalFieldsIsWhatNetworksAskFor) {
  // The table's columns.
  const std::pair<Variant, BlockKind> networks[] = {{Variant::standard, BlockKind::basic},
                                                    {Variant::paper, BlockKind::basic},
                                                    {Variant::standard, BlockKind::pre_activation}};
  std::vector<std::map<NotingBackend::Row, std::set<std::string>>> asked;
  std::set<NotingBackend::Row> rows;
  for (const auto& [variant, block] : networks) {
    asked.push_back(rows_of(variant, DType::float32, block));
    EXPECT_EQ(rows_of(variant, DType::bfloat16, block), asked.back()) << "bfloat16 asks for others";
    for (const auto& [row, phases] : asked.back()) rows.insert(row);
  }
  std::set<std::string> occur, stand;
  for (const NotingBackend::Row& row : rows) {
    std::string fields = row.fields;
    if (fields != "none") fields = "`" + std::regex_replace(fields, std::regex(", "), "`, `") + "`";
    std::string line = concat("| `", row.primitive, "` | ", fields, " |");
    for (auto& of_network : asked) line += " " + joined(of_network[row]) + " |";
    occur.insert(line);
  }
  std::istringstream page(text_of("docs/tensor.md"));
  bool in_table = false;
  for (std::string line; std::getline(page, line);) {
    if (line == "| primitive | optional fields | standard | paper | pre-activation |") in_table = true;
    if (in_table && line.empty()) in_table = false;
    if (in_table && line.rfind("| `", 0) == 0) stand.insert(line);
  }
  for (const std::string& row : occur) EXPECT_TRUE(stand.contains(row)) << "docs/tensor.md lacks the row\n" << row;
  for (const std::string& row : stand)
    EXPECT_TRUE(occur.contains(row)) << "docs/tensor.md has, but never occurs\n" << row;
}

}  // namespace
}  // namespace stagewise
