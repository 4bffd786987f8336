#include "search/report/report.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "search/forecast.h"
#include "search/report/finished_run.h"
#include "search/report/latency.h"
#include "search/report/page.h"
#include "search/report/picture_file.h"
#include "search/report/robustness.h"
#include "search/report/run_story.h"
#include "search/run/directory.h"
#include "search/run/terminal.h"
#include "search/run/text.h"
#include "search/training/predictions.h"
#include "tensor/atomic_file.h"

namespace stagewise {

namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::size_t kLargestPage = 2'000'000;
constexpr std::int64_t kLargestMatrix = 20;  // classes; of more, only the most frequent confusions are listed
constexpr std::size_t kMostConfusions = 2000;
constexpr std::int64_t kBatches[] = {1, 128};

/// Does `work`; an Error becomes a note that begins with `what`.
template <class Work>
void or_note(std::vector<std::string>& notes, const std::string& what, const Work& work) {
  try {
    work();
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    notes.push_back(what + ": " + error.what());
  }
}

void read_model(const std::string& run, Backend& backend, Evidence& evidence) {
  if (!RunDirectory::holds_file(run + "/model.safetensors")) {
    evidence.notes.emplace_back(
        "There is no model.safetensors in the run's folder, so the network itself can't be asked.");
    return;
  }
  or_note(evidence.notes, "The network can't be read any more", [&] {
    evidence.model = load_model(backend, run);
    evidence.classes = evidence.model->classes;
  });
}

/// The test images, if they are still those that the predictions are of.
void read_test_images(const ReportedRun& run, Evidence& evidence, Progress& progress) {
  or_note(evidence.notes, "The test images can't be read any more, so none are shown", [&] {
    DataOptions options = run.data;
    options.read_train = false;
    if (evidence.model) options.image_size = evidence.model->network->architecture().height;
    const Dataset dataset = open_announced(options, {.line = {}, .counts = progress.counts()});
    require(evidence.classes.empty() || evidence.classes == dataset.classes, "`", options.data,
            "` has other classes than the network");
    Images images = dataset.load_test ? dataset.load_test() : Images{};
    const bool same = !evidence.predictions || images.labels == evidence.predictions->labels;
    require(same, "`", options.data, "` isn't what it was when the run ended");
    evidence.classes = dataset.classes;
    evidence.test = std::move(images);
  });
}

void answer_anew(Evidence& evidence, const ReportOptions& options, Progress& progress) {
  const Model& model = *evidence.model;
  or_note(evidence.notes, "The network couldn't be asked about the test images", [&] {
    require(model.normalisation.has_value(), "the model doesn't say how images are normalised");
    const ImageStore store(model.network->backend(), evidence.test, std::ssize(evidence.classes), *model.normalisation,
                           options.feature_maps);
    evidence.predictions = predict_all(InferenceNetwork(*model.network), store, all_indices(store.count()),
                                       [&](const PassProgress& pass) { progress.pass("test set", pass); });
  });
}

/// How many classes the predictions speak of, where nobody names them.
std::int64_t classes_of(const Evidence& evidence) {
  if (!evidence.classes.empty()) return std::ssize(evidence.classes);
  std::int32_t largest = 0;
  for (const auto* labels : {&evidence.predictions->labels, &evidence.predictions->predicted}) {
    largest = std::max(largest, *std::max_element(labels->begin(), labels->end()));
  }
  return largest + 1;
}

OrderedJson share_json(const Share& share) {
  return {{"count", share.count},
          {"of", share.of},
          {"share", share.value()},
          {"lower", share.lower},
          {"upper", share.upper}};
}

OrderedJson mistakes_json(const Evidence& evidence, std::size_t count) {
  OrderedJson list = OrderedJson::array();
  const Predictions& predictions = *evidence.predictions;
  for (const std::size_t image : surest_mistakes(predictions, count)) {
    OrderedJson mistake = {{"image", image},
                           {"label", predictions.labels[image]},
                           {"predicted", predictions.predicted[image]},
                           {"confidence", predictions.confidence[image]}};
    if (evidence.test.count() > 0) mistake["picture"] = data_uri_of(evidence.test, image);
    list.push_back(mistake);
  }
  return list;
}

OrderedJson calibration_json(const Predictions& predictions) {
  const Reliability calibration = reliability_of(predictions);
  OrderedJson bins = OrderedJson::array();
  for (const ConfidenceBin& bin : calibration.bins) {
    bins.push_back({{"from", bin.from},
                    {"to", bin.to},
                    {"confidence", bin.confidence},
                    {"images", bin.right.of},
                    {"accuracy", bin.right.value()},
                    {"lower", bin.right.lower},
                    {"upper", bin.right.upper}});
  }
  return {{"error", calibration.expected_error}, {"confidence", calibration.mean_confidence}, {"bins", bins}};
}

OrderedJson answers_json(const Evidence& evidence, std::size_t pictures) {
  if (!evidence.predictions) return nullptr;
  const Predictions& predictions = *evidence.predictions;
  const std::int64_t classes = classes_of(evidence);
  const PassResult result = predictions.result();
  OrderedJson answers = {{"all", share_json(share_of(result.right, result.images))}, {"loss", result.loss}};
  answers["classes"] = OrderedJson::array();
  for (const Share& share : share_by_class(predictions, classes)) {
    OrderedJson of_class = share_json(share);
    of_class["name"] = class_name(evidence, static_cast<std::int32_t>(answers["classes"].size()));
    answers["classes"].push_back(of_class);
  }
  std::vector<Confusion> wrong = confusions(predictions);
  if (classes > kLargestMatrix) wrong.resize(std::min(wrong.size(), kMostConfusions));
  answers["confusions"] = OrderedJson::array();
  for (const Confusion& answer : wrong)
    answers["confusions"].push_back({answer.label, answer.predicted, answer.images});
  const bool sure = !predictions.confidence.empty();
  answers["calibration"] = sure ? calibration_json(predictions) : OrderedJson();
  answers["mistakes"] = sure ? mistakes_json(evidence, pictures) : OrderedJson();
  return answers;
}

/// Of the run's network, or where its weights are gone of one like it, which takes as long.
OrderedJson latency_json(const Evidence& evidence, const nlohmann::json& start, const std::vector<std::int64_t>& depths,
                         Backend& backend, const ReportOptions& options) {
  std::unique_ptr<Network> alike;
  if (!evidence.model) {
    const auto architecture = architecture_in(start, depths);
    if (!architecture) return nullptr;
    alike = std::make_unique<Network>(backend, *architecture, 0);
  }
  const Network& network = evidence.model ? *evidence.model->network : *alike;
  EnergyMeter energy(backend.name() == "cuda");
  OrderedJson batches = OrderedJson::array();
  for (const std::int64_t batch : kBatches) {
    const Latency latency = measure_latency(network, batch, options.feature_maps, options.latency_seconds, energy);
    batches.push_back(
        {{"batch", batch},
         {"repetitions", latency.repetitions},
         {"p50", latency.median},
         {"p95", latency.percentile95},
         {"images_per_second", latency.images_per_second()},
         {"joules_an_image", latency.joules_an_image ? OrderedJson(*latency.joules_an_image) : OrderedJson()}});
  }
  return {{"device", backend.name() + ": " + backend.description()},
          {"maps", name_of(options.feature_maps)},
          {"energy", energy.source()},
          {"batches", batches}};
}

/// Where it is asked for and can be told; why it can't is noted already, or here.
OrderedJson robustness_json(Evidence& evidence, const ReportOptions& options, Progress& progress) {
  if (options.disturbed == 0 || !evidence.model || evidence.test.count() == 0) return nullptr;
  const Images images = some_of(evidence.test, options.disturbed);
  const auto began = std::chrono::steady_clock::now();
  const auto show = [&](const PassProgress& pass) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
    Forecast forecast;
    forecast.add(pass.images_done, seconds.count());
    progress.pass("disturbed images", pass, forecast.left(pass.images_total - pass.images_done));
  };
  OrderedJson curves = OrderedJson::array();
  or_note(evidence.notes, "Its robustness couldn't be measured", [&] {
    const Model& model = *evidence.model;
    require(model.normalisation.has_value(), "the model doesn't say how images are normalised");
    for (const Disturbance& one :
         robustness_of(*model.network, images, *model.normalisation, options.feature_maps, show)) {
      OrderedJson points = OrderedJson::array();
      for (const Disturbance::Point& point : one.points) {
        points.push_back(share_json(point.right));
        points.back()["strength"] = point.strength;
        points.back()["picture"] = data_uri_of(point.example, 0);
      }
      curves.push_back({{"name", one.name}, {"unit", one.unit}, {"points", points}});
    }
  });
  return curves.empty() ? OrderedJson() : OrderedJson{{"images", images.count()}, {"curves", curves}};
}

OrderedJson repeat_json(const std::string& run, const OrderedJson& story) {
  const std::string config = run + "/config.toml";
  const std::string command = story["strategy"] == "train" ? "train" : "search";
  return {{"command", "stagewise " + command + " --config " + config},
          {"config", RunDirectory::holds_file(config) ? OrderedJson(read_file(config)) : story["config"]}};
}

OrderedJson run_json(const ReportedRun& run, Backend& backend, const ReportOptions& options, Progress& progress) {
  const std::string journal = run.path + "/journal.jsonl";
  require(RunDirectory::holds_file(journal), "[report] `", run.path, "` is no run's folder: there is no journal.jsonl");
  const std::vector<nlohmann::json> events = read_journal(journal);
  OrderedJson story = run_story(events);
  Evidence evidence = evidence_of(run, backend, options, progress);
  if (options.on_evidence) options.on_evidence(run, evidence);
  progress.status("timing the network");
  const auto depths = parse_depths(story["network"]["blocks"], "blocks");
  story["latency"] = latency_json(evidence, events.front(), depths, backend, options);
  story["answers"] = answers_json(evidence, options.pictures);
  story["robustness"] = robustness_json(evidence, options, progress);
  story["repeat"] = repeat_json(run.path, story);
  story["path"] = run.path;
  story["name"] = std::filesystem::path(run.path).lexically_normal().filename().string();
  story["notes"] = evidence.notes;
  story.erase("config");
  return story;
}

void forget_pictures(OrderedJson& value) {
  if (value.is_object()) value.erase("picture");
  if (value.is_structured()) {
    for (OrderedJson& part : value) forget_pictures(part);
  }
}

}  // namespace

std::string class_name(const Evidence& evidence, std::int32_t label) {
  const auto index = static_cast<std::size_t>(label);
  return index < evidence.classes.size() ? evidence.classes[index] : "class " + std::to_string(label);
}

Evidence evidence_of(const ReportedRun& run, Backend& backend, const ReportOptions& options, Progress& progress) {
  Evidence evidence;
  const std::vector<nlohmann::json> events = read_journal(run.path + "/journal.jsonl");
  if (events.empty() || events.back().at("event") != "finished") {
    evidence.notes.emplace_back(
        "The run isn't finished. Until it is, its test set stays shut, so there is nothing yet about its answers.");
    return evidence;
  }
  read_model(run.path, backend, evidence);
  const std::string file = predictions_file(run.path);
  if (RunDirectory::holds_file(file)) {
    or_note(evidence.notes, "What it said of the test images can't be read",
            [&] { evidence.predictions = read_predictions(file); });
  }
  if (!evidence.predictions && !evidence.model) return evidence;
  if (!events.back().contains("test_accuracy")) {
    evidence.notes.emplace_back("The data has no test set, so there is nothing to judge the network's answers by.");
    return evidence;
  }
  read_test_images(run, evidence, progress);
  const bool complete = evidence.predictions && !evidence.predictions->confidence.empty();
  if (!complete && evidence.model && evidence.test.count() > 0) answer_anew(evidence, options, progress);
  if (evidence.predictions && evidence.predictions->confidence.empty()) {
    evidence.notes.emplace_back(
        "An earlier version kept no confidences, and the network can't be asked again: "
        "calibration and the surest mistakes are left out.");
  }
  return evidence;
}

std::string report_page(const std::vector<ReportedRun>& runs, Backend& backend, const ReportOptions& options,
                        Progress& progress) {
  ReportOptions each = options;
  each.pictures = (options.pictures + runs.size() - 1) / runs.size();
  OrderedJson data = {{"runs", OrderedJson::array()}, {"known", known_networks()}};
  std::string title = "stagewise:";
  for (const ReportedRun& run : runs) {
    if (runs.size() > 1) progress.line(run.path);
    data["runs"].push_back(run_json(run, backend, each, progress));
    title += (data["runs"].size() > 1 ? ", " : " ") + as_utf8(data["runs"].back()["name"].get<std::string>());
  }
  std::string page = page_of(title, data);
  if (page.size() > kLargestPage) {  // the figures matter more than the pictures
    for (OrderedJson& run : data["runs"]) forget_pictures(run);
    page = page_of(title, data);
  }
  require(page.size() <= kLargestPage, "[report] ", runs.size(), " runs take ", page.size(),
          " bytes, more than a page of 2 MB: give fewer");
  return page;
}

std::string report_file(const std::string& run) { return run + "/report.html"; }

void write_report_at_end(const ReportedRun& run, double run_seconds, Backend& backend, ReportOptions options,
                         Progress& progress) noexcept {
  options.latency_seconds = std::min(options.latency_seconds, run_seconds / 100.0);
  try {
    write_file_atomically(report_file(run.path), report_page({run}, backend, options, progress));
  } catch (const std::exception& error) {
    complain(concat("the run is done, but not its report.html: ", error.what(), "\nTo try again: stagewise report ",
                    run.path));
  }
}

}  // namespace stagewise
