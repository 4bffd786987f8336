#include "search/commands/calibrate_model.h"

#include "search/checkpoint.h"
#include "search/commands/open_model.h"
#include "search/report/finished_run.h"
#include "search/run/text.h"

namespace stagewise {

namespace {

constexpr const char* kHeldOut = "held-out";
constexpr const char* kInstead = ". Name images that it never saw: --calibrate FOLDER";

Judgements of_held_out(const Model& model, const InferenceNetwork& inference, const std::string& run,
                       const Settings& settings, Progress& progress) {
  const std::optional<HeldOutImages> held_out = held_out_images_of(run);
  require(held_out.has_value(), "[--calibrate] `", run, "` is no run's folder, so it has no held-out images", kInstead);
  require(*held_out != HeldOutImages::none, "[--calibrate] the run `", run,
          "` held no images out (train does with --validation 0.1)", kInstead);
  require(*held_out == HeldOutImages::never_trained_on, "[--calibrate] the run `", run,
          "` trained on its held-out images in the end (search --keep-held-out doesn't)", kInstead);
  const DataOptions wanted = settings_of_run(run, settings).data_options();
  const Dataset dataset = open_announced(wanted, progress.listener());
  const SearchState state = read_checkpoint(run + "/checkpoint.safetensors").state;
  const std::string changed = difference(state.data, fingerprint_of(dataset));
  require(changed.empty(), "[--calibrate] the data isn't what `", run, "` was trained on: ", changed, kInstead);
  const ImageStore images(model.network->backend(), dataset.train, std::ssize(dataset.classes), *model.normalisation,
                          feature_map_type(settings.device, model.network->backend()));
  return judgements_of(inference, images, split_of(dataset, wanted).validation);
}

Judgements of_test_images(const Model& model, const InferenceNetwork& inference, const std::string& data,
                          const Settings& settings, Progress& progress) {
  DataOptions wanted = settings.data_options();
  wanted.data = data;
  wanted.image_size = model.network->architecture().height;
  wanted.read_train = false;
  Dataset dataset = open_announced(wanted, progress.listener());
  map_classes("--calibrate", class_names(model), dataset, progress);
  const Images test = dataset.load_test ? dataset.load_test() : Images{};
  require(test.count() > 0, "[--calibrate] `", data, "` has no test images");
  const ImageStore images(model.network->backend(), test, model.network->architecture().classes, *model.normalisation,
                          feature_map_type(settings.device, model.network->backend()));
  return judgements_of(inference, images, all_indices(images.count()));
}

}  // namespace

std::vector<std::string> class_names(const Model& model) {
  std::vector<std::string> names = model.classes;
  for (std::int64_t label = std::ssize(names); label < model.network->architecture().classes; ++label) {
    names.push_back(concat("class ", label));
  }
  return names;
}

double calibrated_temperature(const Model& model, const InferenceNetwork& inference, const std::string& path,
                              const std::string& on, const Settings& settings, Progress& progress) {
  const Judgements judgements = on == kHeldOut ? of_held_out(model, inference, path, settings, progress)
                                               : of_test_images(model, inference, on, settings, progress);
  const double temperature = fit_temperature(judgements);
  progress.line(concat("Calibrated on ", counted(std::ssize(judgements.labels), "image"), ": temperature ",
                       fixed(temperature, 3), ", loss ", fixed(loss_at(judgements, 1.0), 4), " to ",
                       fixed(loss_at(judgements, temperature), 4)));
  return temperature;
}

}  // namespace stagewise
