#include <algorithm>
#include <iostream>
#include <numeric>

#include "datasets/image_folder.h"
#include "layers/inference.h"
#include "search/commands/commands.h"
#include "search/commands/numbers.h"
#include "search/commands/options.h"
#include "search/run/device.h"
#include "search/run/text.h"
#include "search/training/model_file.h"

namespace stagewise {

namespace {

struct PredictOptions {
  Settings settings;
  std::string model;
  std::vector<std::string> images;
  std::int64_t top = 3;
};

/// The classes' probabilities for one image.
std::vector<double> probabilities_of(const Model& model, const InferenceNetwork& inference, const std::string& path,
                                     DType maps) {
  const Architecture architecture = model.network->architecture();
  Images image{.height = architecture.height, .width = architecture.width, .channels = 3, .pixels = {}, .labels = {0}};
  image.pixels = read_image(path, image.height, image.width);
  Backend& backend = model.network->backend();
  const ImageStore store(backend, image, architecture.classes, *model.normalisation, maps);
  const std::int32_t first = 0;
  const Tensor logits = inference.logits(store.batch(std::span(&first, 1)).x);
  const Tensor probabilities(backend, logits.shape());
  backend.softmax(logits, probabilities);
  return probabilities.to_doubles();
}

void print_top(const Model& model, const std::string& path, const std::vector<double>& probabilities,
               std::int64_t top) {
  std::vector<std::size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return probabilities[a] > probabilities[b]; });
  std::cout << path << ":";
  for (std::size_t i = 0; i < order.size() && i < static_cast<std::size_t>(top); ++i) {
    const std::size_t label = order[i];
    const std::string name = model.classes.empty() ? "class " + std::to_string(label) : model.classes[label];
    std::cout << (i > 0 ? ", " : " ") << name << ' ' << percent(probabilities[label]);
  }
  std::cout << '\n';
}

void run_predict(const PredictOptions& options) {
  const std::unique_ptr<Backend> backend = open_backend(options.settings.device);
  const Model model = load_model(*backend, options.model);
  require(model.normalisation.has_value(), "[predict] `", options.model,
          "` doesn't say how its images are normalised: only networks trained by this program can be used");
  require(model.network->architecture().channels == 3, "[predict] expected a network for images of 3 channels, got ",
          model.network->architecture().channels);
  const InferenceNetwork inference(*model.network);
  const DType maps = feature_map_type(options.settings.device, *backend);
  std::size_t unread = 0;
  for (const std::string& path : options.images) {
    try {
      print_top(model, path, probabilities_of(model, inference, path, maps), options.top);
    } catch (const OutOfMemory&) {
      throw;
    } catch (const Error& error) {  // one bad file doesn't keep the others from being answered
      ++unread;
      std::cout.flush();
      std::cerr << "stagewise: " << error.what() << '\n';
    }
  }
  require(unread == 0, "[predict] without an answer: ", unread, " of ", options.images.size());
}

}  // namespace

Command add_predict(CLI::App& program) {
  CLI::App* command = program.add_subcommand("predict", "Say what is in an image: the likeliest classes");
  const auto options = std::make_shared<PredictOptions>();
  command->add_option("model", options->model, "A run's folder or a .safetensors file")->required();
  command->add_option("images", options->images, "JPEG, PNG, BMP or PPM files")->required();
  command->add_option("--top", options->top, "How many classes to name")->transform(between<std::int64_t>(1, 1000));
  add_device_options(*command, options->settings);
  return {.app = command, .run = [options] { run_predict(*options); }};
}

}  // namespace stagewise
