// The steps of the network that only answers (layers/inference.h), as calls of the functions in c_text.h.
#include "search/export/c.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>

#include "layers/inference.h"
#include "search/export/c_text.h"
#include "search/export/fill_in.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

constexpr std::int64_t kFilters = 16;  // at a time, as kConvolution has them
constexpr std::size_t kLongestLine = 120;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string capitals(std::string name) {
  for (char& c : name) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return name;
}

/// The shortest text that a C compiler reads as this very number.
std::string literal(float value) {
  require(std::isfinite(value), "[export] a folded weight is no number that C could read: ", value);
  if (std::abs(value) < std::numeric_limits<float>::min()) return "0.f";  // compilers warn of smaller ones
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  const std::string digits(text, end);
  return digits + (digits.find_first_of(".e") == std::string::npos ? ".f" : "f");
}

std::string literals(const std::vector<float>& values, const std::string& indent = "  ") {
  std::string text;
  std::size_t line = std::string::npos;  // its beginning
  for (const float value : values) {
    const std::string number = literal(value) + ",";
    if (line == std::string::npos || text.size() + 1 + number.size() - line > kLongestLine) {
      text += '\n';
      line = text.size();
      text += indent;
    } else {
      text += ' ';
    }
    text += number;
  }
  return text;
}

/// A string in C: whatever isn't plain as three octal digits, and no trigraphs.
std::string quoted(const std::string& text) {
  std::string c = "\"";
  for (const char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte >= ' ' && byte < 127 && each != '"' && each != '\\' && each != '?') {
      c += each;
      continue;
    }
    c += '\\';
    for (const int shift : {6, 3, 0}) c += static_cast<char>('0' + (byte >> shift) % 8);
  }
  return c + '"';
}

/// In a comment these would mean something.
std::string in_comment(std::string text) {
  for (char& c : text) c = static_cast<unsigned char>(c) < ' ' ? ' ' : c == '\\' ? '/' : c;
  for (const auto& [meaning, harmless] : {std::pair{"*/", "* /"}, {"/*", "/ *"}, {"??", "? ?"}}) {
    text = replaced(std::move(text), meaning, harmless);
  }
  return text;
}

/// Filters KRSC, or KC, as kConvolution wants them.
std::vector<float> in_sixteens(const Tensor& filters) {
  const std::vector<float> krsc = filters.to_host<float>();
  const std::int64_t count = filters.shape()[0], taps = filters.count() / count;
  const std::int64_t groups = (count + kFilters - 1) / kFilters;
  std::vector<float> packed(static_cast<std::size_t>(groups * taps * kFilters));
  for (std::int64_t k = 0; k < count; ++k) {
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      packed[static_cast<std::size_t>((k / kFilters * taps + tap) * kFilters + k % kFilters)] =
          krsc[static_cast<std::size_t>(k * taps + tap)];
    }
  }
  return packed;
}

/// A value, and where it lies in the caller's scratch, in floats.
struct Map {
  Shape shape;  // of one image
  std::int64_t at = 0;
  std::string place() const { return concat("scratch + ", at); }
};

/// Each map lies at the lowest place that is free for as long as it is needed.
class Scratch {
 public:
  Map take(const Shape& shape) {
    const std::int64_t count = shape.count();
    std::int64_t at = 0;
    for (const auto& [begin, end] : taken_) {
      if (at + count <= begin) break;
      at = end;
    }
    taken_[at] = at + count;
    largest_ = std::max(largest_, at + count);
    return {shape, at};
  }
  void give_back(const Map& map) { taken_.erase(map.at); }
  std::int64_t largest() const { return largest_; }

 private:
  std::map<std::int64_t, std::int64_t> taken_;  // from where to where
  std::int64_t largest_ = 0;
};

/// Appends constants and calls, step by step.
class Writer {
 public:
  Writer(const std::vector<FoldedStep>& steps, const Shape& image, const std::string& name);

  void array(const std::string& name, const std::vector<float>& values);
  void step(std::size_t number);

  const std::string& functions() const { return functions_; }
  const std::string& constants() const { return constants_; }
  const std::string& calls() const { return calls_; }
  std::int64_t floats() const { return floats_; }
  std::int64_t scratch() const { return scratch_.largest(); }

 private:
  /// Of a convolution: `NAME_stages_0_blocks_2_conv1`.
  std::string identifier(const std::string& name) const { return prefix_ + replaced(name, ".", "_"); }
  void declare(const Convolution& convolution, const Tensor& weight, const Tensor& bias);
  /// A call of NAME_FUNCTION, which stands in the header where one is made.
  template <class... Arguments>
  void call(const char* function, const char* text, const Arguments&... arguments);
  /// Whether nobody reads `value` behind this step, which then may write over it.
  bool is_free_after(std::size_t step, std::size_t value) const { return last_reader_[value] == step; }

  const std::vector<FoldedStep>& steps_;
  const std::string prefix_;
  Scratch scratch_;
  std::vector<Map> values_;               // as FoldedStep numbers them
  std::vector<std::size_t> last_reader_;  // the last step that reads each
  std::string functions_, constants_, calls_;
  std::int64_t floats_ = 0;
};

Writer::Writer(const std::vector<FoldedStep>& steps, const Shape& image, const std::string& name)
    : steps_(steps), prefix_(name + "_"), values_{scratch_.take(image)}, last_reader_(steps.size() + 1) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    last_reader_[steps[i].input] = i;
    const auto* const convolve = std::get_if<folded::Convolve>(&steps[i].op);
    if (convolve != nullptr && convolve->addend) last_reader_[*convolve->addend] = i;
  }
}

void Writer::array(const std::string& name, const std::vector<float>& values) {
  constants_ +=
      concat("static const float ", identifier(name), "[", values.size(), "] = {", literals(values), "\n};\n\n");
  floats_ += static_cast<std::int64_t>(values.size());
}

void Writer::declare(const Convolution& convolution, const Tensor& weight, const Tensor& bias) {
  const Shape &x = convolution.input, &filter = convolution.filter, &y = convolution.output;
  const Conv2dOptions& options = convolution.options;
  std::vector<float> biases = bias.to_host<float>();
  biases.resize((biases.size() + kFilters - 1) / kFilters * kFilters);
  const std::string weight_name = convolution.name + ".weight", bias_name = convolution.name + ".bias";
  array(weight_name, in_sixteens(weight));
  array(bias_name, biases);
  constants_ +=
      concat("static const ", prefix_, "convolution ", identifier(convolution.name), " = {", x[1], ", ", x[2], ", ",
             x[3], ",  ", filter[1], ", ", filter[2], ", ", options.stride, ", ", options.padding_before, ",  ", y[1],
             ", ", y[2], ", ", y[3], ",\n  ", identifier(weight_name), ", ", identifier(bias_name), "};\n\n");
}

template <class... Arguments>
void Writer::call(const char* function, const char* text, const Arguments&... arguments) {
  if (functions_.find(text) == std::string::npos) functions_ += text;
  std::string list;
  ((list += concat(list.empty() ? "" : ", ", arguments)), ...);
  calls_ += concat("  ", prefix_, function, "(", list, ");\n");
}

void Writer::step(std::size_t number) {
  const FoldedStep& step = steps_[number];
  const Map x = values_[step.input];
  std::optional<std::size_t> written_over;  // the value in whose place the result comes to lie
  const auto result = [&](std::optional<std::size_t> over = {}) {
    written_over = over;
    const Map y = over ? Map{step.output, values_[*over].at} : scratch_.take(step.output);
    values_.push_back(y);
    return y.place();
  };
  const ByKind by_kind{
      [&](const folded::Convolve& op) {
        require(!op.addend || (op.addend != step.input && is_free_after(number, *op.addend)), "[export] ", step.name,
                " adds what is needed once more");
        declare(op.convolution, op.weight, op.bias);
        call("convolve", c_text::kConvolution, "&" + identifier(op.convolution.name), x.place(), result(op.addend),
             op.addend ? 1 : 0, op.relu ? 1 : 0);
      },
      [&](const folded::ScaleAndRelu& op) {
        array(step.name + ".scale", op.scale.to_host<float>());
        array(step.name + ".shift", op.shift.to_host<float>());
        const auto over = is_free_after(number, step.input) ? std::optional(step.input) : std::nullopt;
        call("scale_and_relu", c_text::kScaleAndRelu, x.place(), x.shape[1] * x.shape[2], x.shape[3],
             identifier(step.name + ".scale"), identifier(step.name + ".shift"), result(over));
      },
      [&](const MaxPoolNode& op) {
        call("max_pool", c_text::kMaxPool, x.place(), x.shape[1], x.shape[2], x.shape[3], op.window, op.options.stride,
             op.options.padding_before, result(), step.output[1], step.output[2]);
      },
      [&](const ShortcutPadding& op) {
        call("pad_shortcut", c_text::kPadShortcut, x.place(), x.shape[2], x.shape[3], op.stride, op.zeros_before,
             result(), step.output[1], step.output[2], step.output[3]);
      },
      [&](const GlobalAveragePoolNode&) {
        call("average", c_text::kAveragePool, x.place(), x.shape[1] * x.shape[2], x.shape[3], result());
      },
      [&](const folded::Linear& op) {  // a convolution of a map of one pixel, and the last step
        const std::int64_t outputs = op.weight.shape()[0], inputs = op.weight.shape()[1];
        Convolution convolution{.name = step.name};
        convolution.input = {1, 1, 1, inputs};
        convolution.filter = {outputs, 1, 1, inputs};
        convolution.output = {1, 1, 1, outputs};
        declare(convolution, op.weight, op.bias);
        call("convolve", c_text::kConvolution, "&" + identifier(step.name), x.place(), "logits", 0, 0);
        values_.push_back(x);
      },
  };
  std::visit(by_kind, step.op);
  for (std::size_t value = 0; value <= number; ++value) {
    if (is_free_after(number, value) && written_over != value) scratch_.give_back(values_[value]);
  }
}

/// What we say of the image that NAME_self_test makes.
std::vector<float> expected_logits(const Network& network, const Normalisation& normalisation) {
  const Shape& shape = network.active_graph().input;
  std::uint32_t draw = 1;
  std::vector<float> image;
  for (const float offset : normalisation.offset) {
    draw = draw * 1664525U + 1013904223U;
    image.push_back(static_cast<float>(draw >> 24) * normalisation.scale[image.size() % normalisation.scale.size()] -
                    offset);
  }
  return InferenceNetwork(network).logits(Tensor::from_host(network.backend(), shape, image)).to_host<float>();
}

}  // namespace

std::string c_name(const std::string& file) {
  std::string name = std::filesystem::path(file).stem().string();
  for (char& c : name) c = is_letter(c) || is_digit(c) ? c : '_';
  return !name.empty() && is_letter(name.front()) ? name : "network_" + name;
}

CHeader c_header(const Network& network, const Normalisation& normalisation, const CHeaderOptions& options) {
  const std::string& name = options.name;
  require(name == c_name(name), "[--name] expected letters, digits and `_`, a letter first, got `", name, "`");
  const Graph& graph = network.active_graph();
  const auto channels = static_cast<std::ptrdiff_t>(graph.input[3]);
  // Mostly it is the same for every pixel.
  std::vector<float> offset(normalisation.offset.begin(), normalisation.offset.begin() + channels);
  for (std::size_t i = 0; i < normalisation.offset.size(); ++i) {
    if (normalisation.offset[i] != offset[i % offset.size()]) offset = normalisation.offset;
  }
  const std::vector<FoldedStep> steps = folded_steps(network);
  Writer writer(steps, graph.input, name);
  writer.array("scale", normalisation.scale);
  writer.array("offset", offset);
  for (std::size_t i = 0; i < steps.size(); ++i) writer.step(i);

  std::string about, classes;
  for (const auto& [key, value] : options.about) about += (about.empty() ? "" : "\n") + in_comment(key + ": " + value);
  for (std::int64_t k = 0; k < network.architecture().classes; ++k) {
    const auto at = static_cast<std::size_t>(k);
    classes += "\n  " + quoted(options.classes.empty() ? std::to_string(k) : options.classes.at(at)) + ",";
  }
  const auto bytes = [](std::int64_t floats) { return floats * static_cast<std::int64_t>(sizeof(float)); };
  CHeader header{.text = {}, .constants = bytes(writer.floats()), .scratch = bytes(writer.scratch())};
  const auto fill = [&](const std::string& text) {
    return filled_in(
        text, {{"@STEPS@", writer.calls()},
               {"@OFFSET@", static_cast<std::ptrdiff_t>(offset.size()) == channels ? "i % @NAME@_CHANNELS" : "i"},
               {"@EXPECTED@", literals(expected_logits(network, normalisation), "    ") + "\n  "},
               {"@HEIGHT@", std::to_string(graph.input[1])},
               {"@WIDTH@", std::to_string(graph.input[2])},
               {"@CHANNELS@", std::to_string(channels)},
               {"@OUTPUTS@", std::to_string(network.architecture().classes)},
               {"@SCRATCH@", std::to_string(header.scratch)},
               {"@FLOATS@", std::to_string(writer.scratch())},
               {"@name@", name},
               {"@NAME@", capitals(name)},
               {"@LABELS@", classes},  // these last: they may hold anything
               {"@FILE@", in_comment(options.file)},
               {"@ABOUT@", about}});
  };
  header.text = fill(c_text::kInterface + writer.functions()) + writer.constants() + fill(c_text::kImplementation);
  return header;
}

}  // namespace stagewise
