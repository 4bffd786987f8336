// Networks as other programs read them, judged by those programs (tests/referees/) and by what docs/export.md promises.
#include <nlohmann/json.hpp>

#include "cpu/cpu_backend.h"
#include "layers/inference.h"
#include "layers/sgd.h"
#include "search/training/model_file.h"
#include "search/training/network_tensors.h"
#include "tests/picture_files.h"
#include "tests/referees.h"

namespace stagewise {
namespace {

constexpr std::int64_t kTrainedOn = 64, kSteps = 10;
constexpr double kRate = 0.003;  // the referee's; at .01 one network multiplies what was rounded by ten a step

SafetensorsEntry floats(const std::vector<float>& values, const Shape& shape) {
  const auto* const bytes = reinterpret_cast<const unsigned char*>(values.data());
  return {.dtype = DType::float32, .shape = shape, .bytes = {bytes, bytes + values.size() * sizeof(float)}};
}

/// The program that this test calls may have been built without ONNX, which CI must not do.
bool has_onnx() { return STAGEWISE_HAVE_ONNX || std::getenv("CI") != nullptr; }

class Export : public RefereedProgram {
 protected:
  void SetUp() override {
    if (!has_onnx()) GTEST_SKIP() << "built without ONNX (libonnx-dev, libprotobuf-dev)";
    RefereedProgram::SetUp();
  }

  /// model.safetensors: trained a little and grown in the middle, 16x12 pixels, 5 classes. case.safetensors: 256 images,
  /// what the network answers, and what ten more training steps lose.
  void write_case(Variant variant, const NetworkStyle& style = {}) {
    Architecture architecture = Architecture::of_depths({3, 2}, variant, style);
    architecture.stages[0].blocks = {0, 4, 2};
    architecture.height = 16;
    architecture.width = 12;
    architecture.classes = 5;
    architecture.check();
    Images images{.height = 16, .width = 12, .channels = 3, .pixels = {}, .labels = {}};
    std::uint32_t draw = 1;  // MINSTD
    for (int i = 0; i < 256; ++i) images.labels.push_back(i % 5);
    for (int i = 0; i < 256 * 16 * 12 * 3; ++i) {
      draw = static_cast<std::uint32_t>(std::uint64_t{draw} * 48271 % 2147483647);
      images.pixels.push_back(static_cast<std::uint8_t>(draw >> 8));
    }
    const Normalisation normalisation =
        variant == Variant::paper ? mean_image_normalisation(images) : channel_normalisation(images);
    const ImageStore store(*backend_, images, 5, normalisation);
    Network network(*backend_, architecture, 7);
    train(network, store);
    save_model(path("model.safetensors"), network, normalisation, {"a", "b \"quoted\"", "c", "d\\", "\xC3\xA9"});

    const auto count = images.count();
    Safetensors file;
    file.tensors["images"] = {.dtype = DType::uint8, .shape = {count, 16, 12, 3}, .bytes = images.pixels};
    file.tensors["logits"] = to_entry(answers(network, store));
    file.tensors["losses"] = floats(train(network, store), {kSteps});
    file.tensors["labels"] = {.dtype = DType::int32, .shape = {kTrainedOn}, .bytes = {}};
    const auto* const labels = reinterpret_cast<const unsigned char*>(images.labels.data());
    file.tensors["labels"].bytes.assign(labels, labels + kTrainedOn * 4);
    write_safetensors(path("case.safetensors"), file);
    images_ = std::move(images);
  }

  static Tensor answers(const Network& network, const ImageStore& store) {
    std::vector<std::int32_t> all(static_cast<std::size_t>(store.count()));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int32_t>(i);
    return InferenceNetwork(network).logits(store.batch(all).x);
  }

  /// Ten steps on the first images; the loss before each.
  static std::vector<float> train(Network& network, const ImageStore& store) {
    std::vector<std::int32_t> first(kTrainedOn);
    for (std::size_t i = 0; i < first.size(); ++i) first[i] = static_cast<std::int32_t>(i);
    const Batch batch = store.batch(first);
    Sgd optimiser;
    std::vector<float> losses;
    for (int step = 0; step < kSteps; ++step) {
      Tape tape;
      const Context context{.tape = &tape, .training = true};
      const Variable loss =
          softmax_cross_entropy(context, network.forward(context, Variable(batch.x)), batch.labels, /*smoothing=*/0.1);
      tape.backward(loss);
      optimiser.step(network, kRate);
      losses.push_back(loss.value().to_host<float>().front());
    }
    return losses;
  }

  /// How far the answers of the network in `file` are from those that PyTorch noted in `file`_logits.
  double difference_from(const std::string& file, std::string* remarks = nullptr) {
    const Model model = load_model(*backend_, path(file + ".safetensors"), {}, [&](const std::string& line) {
      if (remarks != nullptr) *remarks += line;
    });
    const std::vector<double> ours =
        answers(*model.network, ImageStore(*backend_, images_, 5, *model.normalisation)).to_doubles();
    const Safetensors noted = read_safetensors(path(file + "_logits.safetensors"));
    const auto* const theirs = reinterpret_cast<const float*>(noted.tensors.at("logits").bytes.data());
    double largest = 0.0;
    for (std::size_t i = 0; i < ours.size(); ++i) largest = std::max(largest, std::abs(ours[i] - theirs[i]));
    return largest;
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend({.threads = 1, .strict_convolution = true});
  Images images_;
};

TEST_F(Export, OnnxRuntimeAnswersAsWeDoAndTheCheckerPasses) {
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    write_case(variant);
    for (const Arguments& more : {Arguments{"--out", "folded.onnx"}, {"--out", "kept.onnx", "--keep-batch-norms"}}) {
      Arguments arguments{"export", "model.safetensors", "--to", "onnx"};
      arguments.insert(arguments.end(), more.begin(), more.end());
      const Result result = run(arguments);
      ASSERT_EQ(result.code, 0) << result.error;
      EXPECT_TRUE(contains(result.out, "images  float32 [batch,3,16,12]"));
    }
    const Result judged = judged_by("onnx_referee.py", "case.safetensors folded.onnx kept.onnx");
    ASSERT_EQ(judged.code, 0) << judged.error;
    std::istringstream lines(judged.out);
    std::string folded_line, kept_line;
    ASSERT_TRUE(std::getline(lines, folded_line) && std::getline(lines, kept_line)) << judged.out;
    const auto folded = nlohmann::json::parse(folded_line), kept = nlohmann::json::parse(kept_line);
    const bool standard = variant == Variant::standard;  // whose normalisation is a batch norm, too
    EXPECT_EQ(folded.at("nodes").at("Conv"), 12);        // stem, two of each of five blocks, a projection
    EXPECT_EQ(folded.at("nodes").value("BatchNormalization", 0), standard ? 1 : 0);
    EXPECT_EQ(kept.at("nodes").value("BatchNormalization", 0), standard ? 13 : 11);
    EXPECT_EQ(nlohmann::json::parse(folded.at("about").at("classes").get<std::string>()),
              (std::vector<std::string>{"a", "b \"quoted\"", "c", "d\\", "\xC3\xA9"}));
    EXPECT_EQ(folded.at("about").at("network"), "3,2 (" + name_of(variant) + ")");
    EXPECT_TRUE(contains(folded.at("about").at("exported_by"), "stagewise 0.1.0"));
  }
}

TEST_F(Export, PyTorchAnswersAndTrainsAsWeDoAndItsWeightsComeBack) {
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    write_case(variant);
    const std::string out = name_of(variant);
    const Result result = run({"export", "model.safetensors", "--to", "pytorch", "--out", out});
    ASSERT_EQ(result.code, 0) << result.error;
    fs::copy(path("case.safetensors"), path(out + "/case.safetensors"));
    const Result judged = judged_by("pytorch_referee.py", out);
    ASSERT_EQ(judged.code, 0) << judged.error;

    std::string remarks;
    EXPECT_LE(difference_from(out + "/trained", &remarks), 1e-4);
    EXPECT_TRUE(contains(remarks, "has no metadata"));
    EXPECT_LE(difference_from(out + "/trained_half"), 1e-4);
    const Result described = run({"describe", out + "/trained.safetensors"});
    EXPECT_TRUE(contains(described.out, "ResNet 3,2, " + out + ", images 16x12x3, 5 classes"));
    EXPECT_TRUE(contains(described.error, "its classes have no names"));
    expect_refused({"export", "model.safetensors", "--to", "pytorch", "--out", out}, "is there already");
  }
}

/// A network of each kind of block, with either shortcut, and the ImageNet stem among them.
std::vector<NetworkStyle> styles() {
  return {{.shortcut = Shortcut::padding},
          {.block = BlockKind::bottleneck, .stem = StemKind::imagenet, .widths = {8, 12}},
          {.block = BlockKind::pre_activation, .widths = {16, 24}, .stem_width = 8},
          {.block = BlockKind::pre_activation_bottleneck, .shortcut = Shortcut::padding, .widths = {6, 8}}};
}

TEST_F(Export, NetworksOfEveryKindOfBlockAnswerAndTrainTheSameElsewhere) {
  int number = 0;
  for (const NetworkStyle& style : styles()) {
    write_case(Variant::standard, style);
    const std::string out = concat("pytorch", number++);
    ASSERT_EQ(run({"export", "model.safetensors", "--to", "pytorch", "--out", out}).code, 0);
    fs::copy(path("case.safetensors"), path(out + "/case.safetensors"));
    Result judged = judged_by("pytorch_referee.py", out);  // its logits, and ten steps beside ours
    ASSERT_EQ(judged.code, 0) << out << judged.error;
    EXPECT_LE(difference_from(out + "/trained"), 1e-4);  // back, without metadata

    ASSERT_EQ(run({"export", "model.safetensors", "--to", "onnx", "--out", "folded.onnx"}).code, 0);
    ASSERT_EQ(run({"export", "model.safetensors", "--to", "onnx", "--out", "kept.onnx", "--keep-batch-norms"}).code, 0);
    judged = judged_by("onnx_referee.py", "case.safetensors folded.onnx kept.onnx");
    ASSERT_EQ(judged.code, 0) << judged.error;
  }
}

/// torchvision's networks, and one with akamaster's names, with weights and statistics drawn at random.
TEST_F(Export, TheFieldsWeightFilesLoadByTheirNamesAndAnswerTheSame) {
  const Result made = judged_by("field_networks_referee.py", ".");
  ASSERT_EQ(made.code, 0) << made.error;
  for (const char* const name : {"basic", "bottleneck", "akamaster"}) {
    const Model model = load_model(*backend_, path(concat(name, ".safetensors")));
    const Safetensors theirs = read_safetensors(path(concat(name, "_case.safetensors")));
    const SafetensorsEntry &images = theirs.tensors.at("images"), &logits = theirs.tensors.at("logits");
    const Shape& shape = images.shape;
    ASSERT_EQ(model.network->architecture().height, shape[1]) << name;
    const Tensor x(*backend_, shape);
    backend_->copy_from_host(images.bytes.data(), x);
    const std::vector<double> ours = InferenceNetwork(*model.network).logits(x).to_doubles();
    ASSERT_EQ(ours.size(), static_cast<std::size_t>(logits.shape.count()));
    const auto* const expected = reinterpret_cast<const float*>(logits.bytes.data());
    for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], expected[i], 1e-4) << name << ", logit " << i;
  }
}

TEST_F(Export, ThePeersLoaderReadsATrainedModel) {
  for (const NetworkStyle& style : {NetworkStyle{}, NetworkStyle{.block = BlockKind::bottleneck, .stem_width = 8},
                                    NetworkStyle{.stem = StemKind::imagenet}}) {
    write_case(Variant::standard, style);
    const Result judged =
        judged_by("peers_referee.py", "'" STAGEWISE_SOURCE_DIR "/bench/peers' model.safetensors case.safetensors");
    EXPECT_EQ(judged.code, 0) << judged.error;
  }
}

/// The `number`-th block of `language` in docs/export.md.
std::string snippet(const std::string& language, int number) {
  const std::string page = read_file(STAGEWISE_SOURCE_DIR "/docs/export.md"), fence = "```" + language + "\n";
  std::size_t at = 0;
  for (int i = 0; i <= number; ++i) at = page.find(fence, i == 0 ? 0 : at) + fence.size();
  return page.substr(at, page.find("```", at) - at);
}

TEST_F(Export, WhatTheDocsShowRunsAndAnswersAsPredictDoes) {
  ASSERT_EQ(run(small("train", "run", {"--data", "synthetic", "--image-size", "32"})).code, 0);
  const picture_files::Samples samples = [](int column, int row) {
    return std::vector<std::uint32_t>{static_cast<std::uint32_t>(8 * column), static_cast<std::uint32_t>(8 * row), 90};
  };
  folder_.write("photo.png", picture_files::png(32, 32, samples));
  folder_.write("photos/1.png", picture_files::png(32, 32, samples));
  ASSERT_EQ(run({"export", "run", "--to", "onnx", "--out", "network.onnx"}).code, 0);
  ASSERT_EQ(run({"export", "run", "--to", "pytorch", "--out", "pytorch"}).code, 0);
  for (const char* known : {"trained_by", "exported_by", "stagewise 0.1.0", "test_accuracy", "synthetic shapes"}) {
    EXPECT_TRUE(contains(read_file(path("network.onnx")), known));
    EXPECT_TRUE(contains(read_file(path("pytorch/network.py")), known));
  }
  const Result predicted = run({"predict", "run", "photo.png", "--top", "1"});
  ASSERT_EQ(predicted.code, 0) << predicted.error;

  const std::string expected = predicted.out;  // `photo.png: NAME 23.45%`
  const auto printed_by = [&](const std::string& program) {
    folder_.write("snippet.py", program);
    const Result shown = referee("snippet.py");
    EXPECT_EQ(shown.code, 0) << shown.error;
    return shown.out.substr(0, shown.out.find('\n'));
  };
  const std::string by_onnx_runtime = snippet("python", 0), quantise = snippet("python", 1);
  EXPECT_TRUE(contains(expected, "photo.png: " + printed_by(by_onnx_runtime) + " "));
  EXPECT_TRUE(contains(expected, "photo.png: " + printed_by(snippet("python", 2)) + " "));
  printed_by(quantise);
  EXPECT_LT(fs::file_size(path("network-int8.onnx")), fs::file_size(path("network.onnx")) / 2);
  std::string in_int8 = by_onnx_runtime;
  in_int8.insert(in_int8.find(".onnx"), "-int8");
  EXPECT_TRUE(contains(read_file(path("network.onnx")), "\"" + printed_by(in_int8) + "\""));  // the name of some class

  ASSERT_EQ(run({"export", "run", "--to", "c", "--out", "network.h"}).code, 0);
  folder_.write("program.c", snippet("c", 0));
  ASSERT_EQ(
      std::system(("cd '" + folder_.path() + "' && gcc -O1 program.c -o program -lm && ./program >c.txt").c_str()), 0);
  const std::string in_c = read_file(path("c.txt"));
  EXPECT_TRUE(contains(expected, "photo.png: " + in_c.substr(0, in_c.find('\n')) + " "));

  if (std::string(STAGEWISE_OPENCV_EXAMPLE).empty()) {
    EXPECT_EQ(std::getenv("CI"), nullptr) << "OpenCV is missing";
    GTEST_SKIP() << "no OpenCV (libopencv-dnn-dev, libopencv-imgcodecs-dev)";
  }
  ASSERT_EQ(std::system(("cd '" + folder_.path() + "' && " STAGEWISE_OPENCV_EXAMPLE " >opencv.txt").c_str()), 0);
  const Model model = load_model(*backend_, path("run"));
  const std::string answer = read_file(path("opencv.txt"));
  const auto label = static_cast<std::size_t>(std::stoi(answer.substr(answer.find(' '))));
  EXPECT_TRUE(contains(expected, "photo.png: " + model.classes.at(label) + " "));
}

/// Programs that embed a header, built by whoever has to.
class ExportedC : public Export {
 protected:
  void SetUp() override {
    for (const char* compiler : {"gcc", "clang"}) {
      if (std::system(concat("command -v ", compiler, " >/dev/null").c_str()) == 0) continue;
      if (std::getenv("CI") != nullptr) FAIL() << compiler << " is missing";
      GTEST_SKIP() << "no " << compiler;
    }
    folder_.write("net.c", "#define NET_IMPLEMENTATION\n#include \"net.h\"\n#include \"net.h\"\n");
    folder_.write("main.c", R"c(
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "net.h"
enum { kSize = NET_HEIGHT * NET_WIDTH * NET_CHANNELS };
static unsigned char pixels[kSize];
static float floats[kSize];
int main(void) {
  float* scratch = (float*)malloc(NET_SCRATCH * sizeof(float));
  float logits[NET_CLASSES], again[NET_CLASSES];
  if (!(net_self_test(scratch) <= 1e-4f)) return 3;
  for (int k = 0; k < NET_CLASSES; ++k) fprintf(stderr, "%s\n", net_classes[k]);
  while (fread(pixels, sizeof pixels, 1, stdin) == 1) {
    int likeliest = net_predict(pixels, logits, scratch);
    for (int k = 0; k < NET_CLASSES; ++k) {
      if (logits[k] > logits[likeliest]) return 4;
    }
    for (int i = 0; i < kSize; ++i) floats[i] = pixels[i];
    if (net_predict_floats(floats, again, scratch) != likeliest || memcmp(logits, again, sizeof logits) != 0) return 5;
    fwrite(logits, sizeof logits, 1, stdout);
  }
  free(scratch);
  return 0;
}
)c");
  }

  void build(const std::string& compiler) const {
    const std::string line = "cd '" + folder_.path() + "' && " + compiler +
                             " -pedantic -Wall -Wextra -Werror main.c net.c -o main 2>built.txt";
    ASSERT_EQ(std::system(line.c_str()), 0) << compiler << read_file(path("built.txt"));
  }
  int answer() const {
    return WEXITSTATUS(std::system(("cd '" + folder_.path() + "' && ./main <pixels >logits 2>said.txt").c_str()));
  }

  /// The header of write_case's model, built by each compiler, gives our logits.
  void expect_answers(const std::vector<std::string>& compilers) {
    fs::remove(path("net.h"));
    const Result result = run({"export", "model.safetensors", "--to", "c", "--out", "net.h"});
    ASSERT_EQ(result.code, 0) << result.error;
    folder_.write("pixels", {images_.pixels.begin(), images_.pixels.begin() + kAnswered * images_.image_bytes()});
    const std::vector<unsigned char> ours = read_safetensors(path("case.safetensors")).tensors.at("logits").bytes;
    const auto* const expected = reinterpret_cast<const float*>(ours.data());
    for (const std::string& compiler : compilers) {
      build(compiler);
      ASSERT_EQ(answer(), 0) << compiler << read_file(path("said.txt"));
      EXPECT_EQ(read_file(path("said.txt")), "a\nb \"quoted\"\nc\nd\\\n\xC3\xA9\n");
      const std::string bytes = read_file(path("logits"));
      const auto* const theirs = reinterpret_cast<const float*>(bytes.data());
      ASSERT_EQ(bytes.size(), ours.size() / static_cast<std::size_t>(images_.count()) * kAnswered);
      double largest = 0.0;
      for (std::size_t i = 0; i < bytes.size() / sizeof(float); ++i) {
        largest = std::max(largest, std::abs(static_cast<double>(theirs[i]) - expected[i]));
      }
      EXPECT_LE(largest, 1e-4) << compiler;
    }
  }

  static constexpr int kAnswered = 32;  // images: the sanitizers take their time
  static constexpr const char* kSanitized =
      "gcc -x c -std=c99 -O1 -fsanitize=address,undefined -fno-sanitize-recover=all";
};

TEST_F(ExportedC, AnswersAsWeDoBuiltByGccAndClangAsC99AndAsCpp) {
  write_case(Variant::standard);
  expect_answers({kSanitized, "clang -x c -std=c99 -O2", "g++ -x c++ -O2", "clang++ -x c++ -O2"});
  write_case(Variant::paper);
  expect_answers({kSanitized});
}

TEST_F(ExportedC, OfEveryKindOfBlockItAnswersAsWeDo) {
  for (const NetworkStyle& style : styles()) {
    write_case(Variant::standard, style);
    expect_answers({kSanitized});
  }
}

TEST_F(ExportedC, ItsSelfTestNoticesAWeightThatIsAnother) {
  write_case(Variant::standard);
  ASSERT_EQ(run({"export", "model.safetensors", "--to", "c", "--out", "other.h", "--name", "net"}).code, 0);
  std::string header = read_file(path("other.h"));
  const std::string bias = "net_classifier_bias[16] = {\n  ";
  ASSERT_NE(header.find(bias), std::string::npos);
  header.insert(header.find(bias) + bias.size(), "0.01f + ");
  folder_.write("net.h", header);
  folder_.write("pixels", "");
  build("gcc -x c -std=c99 -O1");
  EXPECT_EQ(answer(), 3);
}

class ExportRefusals : public Program {
  void SetUp() override {
    if (!has_onnx()) GTEST_SKIP() << "built without ONNX (libonnx-dev, libprotobuf-dev)";
  }
};

TEST_F(ExportRefusals, SayWhatIsMissingAndLeaveNothing) {
  ASSERT_EQ(run(small("train", "run")).code, 0);
  expect_refused({"export", "run", "--to", "tflite", "--out", "x"}, "tflite");
  expect_refused({"export", "run", "--to", "onnx"}, "--out");
  expect_refused({"export", "nowhere", "--to", "onnx", "--out", "x"}, "nowhere");
  expect_refused({"export", "run", "--to", "onnx", "--out", "no/such/folder/x"}, "no/such/folder/x");
  expect_refused({"export", "run", "--to", "pytorch", "--out", "run/model.safetensors/x"}, "can't make the folder");
  expect_refused({"export", "run", "--to", "c", "--out", "no/such/folder/x"}, "no/such/folder/x");
  expect_refused({"export", "run", "--to", "c", "--out", "run"}, "is there already");
  expect_refused({"export", "run", "--to", "c", "--out", "x", "--name", "2nd"}, "a letter first, got `2nd`");
  expect_refused({"export", "run", "--to", "c", "--out", "x", "--keep-batch-norms"}, "--to onnx");
  expect_refused({"export", "run", "--to", "onnx", "--out", "x", "--name", "net"}, "--to c");
  forget_normalisation("run");
  expect_refused({"export", "run", "--to", "onnx", "--out", "x"}, "--data");
  expect_refused({"export", "run", "--to", "c", "--out", "x"}, "--data");
  EXPECT_FALSE(fs::exists(path("x")));
  EXPECT_EQ(run({"export", "run", "--to", "onnx", "--out", "x", "--data", "synthetic"}).code, 0);
}

}  // namespace
}  // namespace stagewise
