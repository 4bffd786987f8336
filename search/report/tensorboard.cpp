#include "search/report/tensorboard.h"

#include <ctime>
#include <filesystem>
#include <fstream>

#include "search/report/event_file.h"
#include "search/report/picture_file.h"
#include "search/run/terminal.h"
#include "search/run/text.h"
#include "tensor/atomic_file.h"
#include "tensor/text.h"

namespace stagewise {

namespace {

using Json = nlohmann::json;

/// Which of an event's figures go to which chart; those of stages to a chart each, `score/stage 1, lower`.
struct Chart {
  const char *event, *key, *tag, *more = "";
};
constexpr Chart kCharts[] = {
    {"epoch", "loss", "loss/training"},
    {"epoch", "validation_loss", "loss/held-out"},
    {"epoch", "accuracy", "accuracy/training"},
    {"epoch", "validation_accuracy", "accuracy/held-out"},
    {"epoch", "rate", "training/learning rate"},
    {"epoch", "work", "training/multiply-accumulates"},
    {"epoch", "images_per_second", "training/images a second"},
    {"epoch", "blocks", "blocks"},
    {"score", "scores", "score"},
    {"score", "errors", "score", ", standard error"},
    {"decision", "score", "score"},
    {"decision", "lower", "score", ", lower"},
    {"decision", "upper", "score", ", upper"},
    {"decision", "rise", "rise"},
    {"individual", "validation_accuracy", "accuracy/held-out, of each network"},
    {"finished", "test_accuracy", "accuracy/test"},
};

/// 2026-11-26T05:53:01Z in seconds since 1970; 0 for what is no such time.
double seconds_since_1970(const std::string& utc) {
  std::tm time = {};
  if (strptime(utc.c_str(), "%Y-%m-%dT%H:%M:%SZ", &time) == nullptr) return 0.0;
  return static_cast<double>(timegm(&time));
}

/// A list of one figure a stage: as it is, or from a decision's list of stages. Empty where there is none.
std::vector<Json> by_stage(const Json& event, const char* key) {
  const Json found = event.value(key, Json());
  if (found.is_array()) return found;
  std::vector<Json> figures;
  for (const Json& stage : event.value("stages", Json::array())) figures.push_back(stage.value(key, Json()));
  return figures;
}

}  // namespace

TensorBoard::TensorBoard(const std::string& run)
    : journal_(run + "/journal.jsonl"), file_(folder(run) + "/events.out.tfevents.stagewise") {
  std::error_code error;
  std::filesystem::create_directories(folder(run), error);
  require(!error, "[--tensorboard] cannot make the folder `", folder(run), "`: ", error.message());
  const std::string records = new_records();
  write_file_atomically(file_, event_file_header(began_) + records);
}

template <class Work>
void TensorBoard::or_stop(const Work& work) noexcept {
  if (stopped_) return;
  try {
    work();
  } catch (const std::exception& error) {
    stopped_ = true;
    complain(concat("nothing more is written for TensorBoard: ", error.what()));
  }
}

void TensorBoard::catch_up() noexcept {
  or_stop([&] { append(new_records()); });
}

void TensorBoard::append(const std::string& records) const {
  std::ofstream file(file_, std::ios::binary | std::ios::app);
  file.write(records.data(), std::ssize(records));
  require(file.flush().good(), "cannot write `", file_, "`");
}

/// Of the journal's whole lines from where it was read last.
std::string TensorBoard::new_records() {
  std::ifstream journal(journal_, std::ios::binary);
  require(journal.good(), "cannot read `", journal_, "`");
  journal.seekg(read_);
  std::string records;
  for (std::string line; std::getline(journal, line) && !journal.eof(); read_ += std::ssize(line) + 1) {
    const Json event = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    require(event.is_object() && event.contains("event"), "`", journal_, "`: expected an event as a JSON object, got `",
            line, "`");
    records += records_of(event);
  }
  return records;
}

/// A step is an epoch or, of scores and decisions, of which several may fall into one, their number.
std::string TensorBoard::records_of(const Json& event) {
  const std::string name = event.at("event");
  if (name == "start") began_ = seconds_since_1970(event.value("utc", ""));
  now_ = began_ + event.value("seconds", 0.0);
  const std::int64_t step = name == "finished" ? seen_["epoch"] : ++seen_[name];
  std::string records;
  const auto add = [&](const std::string& tag, const Json& figure) {
    if (figure.is_number()) records += scalar_event(now_, step, tag, figure);
  };
  for (const Chart& chart : kCharts) {
    if (chart.event != name) continue;
    add(chart.tag, event.value(chart.key, Json()));
    std::size_t stage = 0;
    for (const Json& figure : by_stage(event, chart.key))
      add(concat(chart.tag, "/stage ", ++stage, chart.more), figure);
  }
  return records;
}

void TensorBoard::add_mistakes(const Evidence& evidence, std::size_t count) noexcept {
  if (!evidence.predictions || evidence.predictions->confidence.empty() || evidence.test.count() == 0) return;
  or_stop([&] {
    const Predictions& predictions = *evidence.predictions;
    const Images& images = evidence.test;
    std::string records;
    std::size_t place = 0;
    for (const std::size_t image : surest_mistakes(predictions, count)) {
      ++place;
      const std::string tag =
          concat("mistakes/", place < 10 ? "0" : "", place, " ", class_name(evidence, predictions.labels[image]),
                 ", taken for ", class_name(evidence, predictions.predicted[image]), ", ",
                 percent(predictions.confidence[image]), " sure");
      records += image_event(now_, seen_["epoch"], as_utf8(tag), images.height, images.width, images.channels,
                             png_of(images, image));
    }
    append(records);
  });
}

}  // namespace stagewise
