#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "datasets/image_files.h"
#include "search/commands/calibrate_model.h"
#include "search/commands/commands.h"
#include "search/commands/numbers.h"
#include "search/commands/options.h"
#include "search/forecast.h"
#include "search/report/answers.h"
#include "search/run/device.h"
#include "search/run/interrupt.h"
#include "search/run/progress.h"
#include "search/run/terminal.h"
#include "search/run/text.h"
#include "search/training/model_file.h"

namespace stagewise {

namespace {

constexpr const char* kStandardInput = "-";
constexpr std::int64_t kPixelsAtATime = 1 << 22;  // so many are decoded, answered and forgotten
constexpr std::int64_t kMostAtATime = 512;

constexpr const char* kFooter =
    "Any picture is resized to the network's size as a whole: its sides may change their ratio, nothing is cut off. "
    "The\n"
    "answer is always one of the classes that the network was trained on, whatever the picture shows; a probability "
    "is\n"
    "the softmax of the network's outputs, which says how sure it is, not how often it is right (--calibrate).\n";

struct PredictOptions {
  Settings settings;
  std::string model, list, format = "text", calibrate;
  std::vector<std::string> images;
  std::int64_t top = 0;  // 0: what the format has
  bool flip = false;
};

/// Adds a name a line.
void read_list(const std::string& path, std::vector<std::string>& names) {
  std::ifstream file;
  if (path != kStandardInput) {
    file.open(path);
    require(file.is_open(), "[--list] can't read ", printable(path));
  }
  std::istream& lines = path == kStandardInput ? std::cin : file;
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  require(!lines.bad(), "[--list] can't read ", printable(path), " to its end");
}

/// The pictures that are asked for, in order; those of a folder by name.
std::vector<std::string> pictures(const PredictOptions& options, Progress& progress) {
  std::vector<std::string> names = options.images, files, passed_over;
  if (!options.list.empty()) read_list(options.list, names);
  for (const std::string& name : names) {
    if (!std::filesystem::is_directory(name)) {
      files.push_back(name);
      continue;
    }
    const std::size_t before = files.size();
    list_images(name, files, passed_over);
    require(files.size() > before, "[predict] the folder ", printable(name), " holds no images");
  }
  require(!files.empty(), "[predict] expected pictures: files, folders, --list FILE, or - for one from standard input");
  require(std::count(files.begin(), files.end(), kStandardInput) + (options.list == kStandardInput ? 1 : 0) <= 1,
          "[predict] standard input can be read once: as one picture (-) or as one list (--list -)");
  if (!passed_over.empty())
    progress.line("passed over: " + counted(std::ssize(passed_over), "file") + " whose name is no image's");
  return files;
}

/// The pictures, at the network's size.
DecodedImages decode(const std::vector<std::string>& files, const Architecture& of, int threads) {
  DecodedImages decoded = decode_images(files, of.height, of.width, threads);
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (files[i] != kStandardInput) continue;
    try {
      const std::string bytes(std::istreambuf_iterator<char>(std::cin), {});
      const std::vector<std::uint8_t> pixels = resized_image(bytes, of.height, of.width);
      std::copy(pixels.begin(), pixels.end(),
                decoded.pixels.begin() + std::ssize(pixels) * static_cast<std::int64_t>(i));
      decoded.problems[i].clear();
    } catch (const Error& error) {
      decoded.problems[i] = concat("can't decode standard input: ", error.what());
    }
  }
  return decoded;
}

Images mirrored(Images images) {
  const std::int64_t row_bytes = images.width * images.channels;
  for (auto row = images.pixels.begin(); row != images.pixels.end(); row += row_bytes) {
    for (std::int64_t left = 0, right = row_bytes - images.channels; left < right;) {
      std::swap_ranges(row + left, row + left + images.channels, row + right);
      left += images.channels;
      right -= images.channels;
    }
  }
  return images;
}

/// Says what a network sees in images.
class Judge {
 public:
  Judge(const Model& model, const PredictOptions& options, Progress& progress)
      : model_(model),
        inference_(*model.network),
        maps_(feature_map_type(options.settings.device, model.network->backend())),
        flip_(options.flip) {
    if (options.calibrate.empty()) return;
    temperature_ =
        calibrated_temperature(model, inference_, options.model, options.calibrate, options.settings, progress);
  }

  /// [images][classes]
  std::vector<double> probabilities(const Images& images) const {
    std::vector<double> mean = seen_once(images);
    if (!flip_) return mean;
    const std::vector<double> mirror = seen_once(mirrored(images));
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] = 0.5 * (mean[i] + mirror[i]);
    return mean;
  }

 private:
  std::vector<double> seen_once(const Images& images) const {
    Backend& backend = model_.network->backend();
    const std::int64_t classes = model_.network->architecture().classes;
    const ImageStore store(backend, images, classes, *model_.normalisation, maps_);
    std::vector<double> logits = judgements_of(inference_, store, all_indices(store.count())).logits;
    for (double& logit : logits) logit /= temperature_;
    const Tensor scaled = Tensor::from_doubles(backend, {images.count(), classes}, logits, DType::float32);
    const Tensor probabilities(backend, scaled.shape());
    backend.softmax(scaled, probabilities);
    return probabilities.to_doubles();
  }

  const Model& model_;
  const InferenceNetwork inference_;
  const DType maps_;
  const bool flip_;
  double temperature_ = 1.0;
};

/// Answers for these files, those that can't be decoded named on standard error. Returns how many those are.
std::size_t answer(const Judge& judge, const Answers& answers, const std::vector<std::string>& files,
                   const Architecture& network, int threads) {
  const DecodedImages decoded = decode(files, network, threads);
  Images images{.height = network.height, .width = network.width, .channels = 3, .pixels = {}, .labels = {}};
  const std::int64_t size = images.image_bytes();
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (!decoded.problems[i].empty()) continue;
    const auto from = decoded.pixels.begin() + static_cast<std::int64_t>(i) * size;
    images.pixels.insert(images.pixels.end(), from, from + size);
    images.labels.push_back(0);
  }
  const std::vector<double> probabilities = images.count() > 0 ? judge.probabilities(images) : std::vector<double>();
  const auto classes = static_cast<std::size_t>(network.classes);
  std::size_t answered = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (decoded.problems[i].empty()) {
      std::cout << answers.line(files[i], std::span(probabilities).subspan(answered++ * classes, classes));
    } else {  // one bad file doesn't keep the others from being answered
      complain(decoded.problems[i]);
    }
  }
  std::cout.flush();
  return files.size() - answered;
}

/// All of them, some at a time; how many have no answer.
std::size_t answer_all(const Judge& judge, const Answers& answers, const std::vector<std::string>& files,
                       const Architecture& network, int threads, Progress& progress) {
  const std::int64_t most =
      std::clamp<std::int64_t>(kPixelsAtATime / (network.height * network.width), 1, kMostAtATime);
  const bool shows = isatty(STDOUT_FILENO) == 0;  // else the answers themselves show how far it is
  Forecast forecast;
  std::size_t unanswered = 0;
  std::cout << answers.header();
  for (std::size_t done = 0; done < files.size() && std::cout;) {
    stop_if_interrupted();
    const std::size_t end = std::min(files.size(), done + static_cast<std::size_t>(most));
    const auto began = std::chrono::steady_clock::now();
    const std::vector<std::string> some(files.begin() + static_cast<std::int64_t>(done),
                                        files.begin() + static_cast<std::int64_t>(end));
    unanswered += answer(judge, answers, some, network, threads);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    forecast.add(static_cast<std::int64_t>(end - done), took.count());
    done = end;
    if (!shows) continue;
    progress.pass("predicting", {.images_done = static_cast<std::int64_t>(done), .images_total = std::ssize(files)},
                  forecast.left(static_cast<std::int64_t>(files.size() - done)));
  }
  return unanswered;
}

void run_predict(const PredictOptions& options) {
  const AnswerFormat format = answer_format_from(options.format);
  Progress progress(options.settings.quiet);
  const std::vector<std::string> files = pictures(options, progress);
  const std::unique_ptr<Backend> backend = open_backend(options.settings.device);
  const Model model = load_model(*backend, options.model, {}, complain);
  require(model.normalisation.has_value(), "[predict] `", options.model,
          "` doesn't say how its images are normalised: only networks trained by this program can be used");
  const Architecture& network = model.network->architecture();
  require(network.channels == 3, "[predict] expected a network for images of 3 channels, got ", network.channels);
  const Judge judge(model, options, progress);
  const Answers answers(format, class_names(model), options.top > 0 ? std::optional(options.top) : std::nullopt);
  if (options.flip) progress.line("Each probability is the mean over a picture and its mirror image");
  catch_interrupts();
  const int threads = options.settings.data_options().threads;
  const std::size_t unanswered = answer_all(judge, answers, files, network, threads, progress);
  require(unanswered == 0, "[predict] without an answer: ", unanswered, " of ", files.size());
}

}  // namespace

Command add_predict(CLI::App& program) {
  CLI::App* command = program.add_subcommand("predict", "Say what is in pictures: the likeliest classes");
  command->footer(kFooter);
  const auto options = std::make_shared<PredictOptions>();
  command->add_option("model", options->model, "A run's folder or a .safetensors file")->required();
  command->add_option("images", options->images,
                      "JPEG, PNG, BMP, PPM or PGM files, folders of them, or - for a picture on standard input");
  command->add_option("--list", options->list,
                      "A file with a picture's (or folder's) name a line; - is standard input");
  command->add_option("--top", options->top, "How many classes to name: 0 takes 3 in text, 1 in CSV, all in JSON lines")
      ->transform(between<std::int64_t>(0, 1000));
  command->add_option("--format", options->format,
                      "text; csv: file,class,probability; or jsonl: an object a line with file, class and "
                      "probabilities by class");
  command->add_flag("--flip", options->flip,
                    "Average over each picture and its mirror image: surer, at twice the work");
  command->add_option(
      "--calibrate", options->calibrate,
      "Fit a temperature, so that 80% is right four times in five: on the images that the run `held-out` "
      "and never trained on, or on the test images of this folder, which the network must never have "
      "seen (test/CLASS/* or CLASS/*)");
  add_device_options(*command, options->settings);
  return {.app = command, .run = [options] { run_predict(*options); }};
}

}  // namespace stagewise
