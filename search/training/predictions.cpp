#include "search/training/predictions.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

constexpr std::string_view kHeader = "image,label,predicted,probability,loss,confidence";
constexpr std::string_view kEarlierHeader = "image,label,predicted,probability,loss";

/// Adds what is said of one image with these logits.
void add(Predictions& predictions, std::span<const double> logits, std::int32_t label) {
  const auto largest = std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const double logit : logits) sum += std::exp(logit - *largest);
  const double loss = std::log(sum) + *largest - logits[static_cast<std::size_t>(label)];
  predictions.labels.push_back(label);
  predictions.predicted.push_back(static_cast<std::int32_t>(largest - logits.begin()));
  predictions.label_probability.push_back(static_cast<float>(std::exp(-loss)));
  predictions.loss.push_back(static_cast<float>(loss));
  predictions.confidence.push_back(static_cast<float>(1.0 / sum));  // exp(largest - largest) / sum
}

/// The shortest digits that read back as `value`.
template <class T>
std::string digits_of(T value) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return {text, end.ptr};
}

/// Takes a number, up to the next comma or the end, off the front of `line`.
template <class T>
bool take(std::string_view& line, T& value) {
  const auto [end, problem] = std::from_chars(line.data(), line.data() + line.size(), value);
  if (problem != std::errc()) return false;
  line.remove_prefix(static_cast<std::size_t>(end - line.data()));
  if (line.empty()) return true;
  if (line.front() != ',') return false;
  line.remove_prefix(1);
  return !line.empty();
}

/// Adds a line's image. False when it isn't one, or not the next.
bool add_line(Predictions& predictions, std::string_view line, bool with_confidence) {
  std::int64_t image = 0;
  std::int32_t label = 0, predicted = 0;
  float probability = 0.0F, loss = 0.0F, confidence = 0.0F;
  const bool sound = take(line, image) && take(line, label) && take(line, predicted) && take(line, probability) &&
                     take(line, loss) && (!with_confidence || take(line, confidence)) && line.empty();
  if (!sound || image != predictions.images() || label < 0 || predicted < 0) return false;
  predictions.labels.push_back(label);
  predictions.predicted.push_back(predicted);
  predictions.label_probability.push_back(probability);
  predictions.loss.push_back(loss);
  if (with_confidence) predictions.confidence.push_back(confidence);
  return true;
}

}  // namespace

PassResult Predictions::result() const {
  PassResult result{.images = images()};
  for (std::size_t image = 0; image < labels.size(); ++image) {
    result.right += is_right(image) ? 1 : 0;
    result.loss += static_cast<double>(loss[image]) / static_cast<double>(result.images);
  }
  return result;
}

Predictions predict_all(const InferenceNetwork& network, const ImageStore& images,
                        std::span<const std::int32_t> indices, const PassCallback& callback) {
  Predictions predictions;
  std::int64_t right = 0;
  double loss = 0.0;
  for_each_batch(images, indices, [&](const Batch& batch) {
    const std::vector<double> logits = network.logits(batch.x).to_doubles();
    const std::vector<std::int32_t> labels = batch.labels.to_host<std::int32_t>();
    const std::size_t classes = logits.size() / labels.size();
    for (std::size_t i = 0; i < labels.size(); ++i) {
      add(predictions, std::span(logits).subspan(i * classes, classes), labels[i]);
      right += predictions.is_right(predictions.labels.size() - 1) ? 1 : 0;
      loss += static_cast<double>(predictions.loss.back());
    }
    if (!callback) return;
    const auto done = static_cast<double>(predictions.images());
    callback({.images_done = predictions.images(),
              .images_total = static_cast<std::int64_t>(indices.size()),
              .loss = loss / done,
              .accuracy = static_cast<double>(right) / done,
              .has_totals = true});
  });
  return predictions;
}

void write_predictions(const std::string& path, const Predictions& predictions) {
  const bool with_confidence = !predictions.confidence.empty();
  std::string text(with_confidence ? kHeader : kEarlierHeader);
  text += '\n';
  for (std::size_t image = 0; image < predictions.labels.size(); ++image) {
    text += digits_of(image) + ',' + digits_of(predictions.labels[image]) + ',' +
            digits_of(predictions.predicted[image]) + ',' + digits_of(predictions.label_probability[image]) + ',' +
            digits_of(predictions.loss[image]) +
            (with_confidence ? ',' + digits_of(predictions.confidence[image]) : "") + '\n';
  }
  write_file_atomically(path, text);
}

Predictions read_predictions(const std::string& path) {
  const std::string text = read_file(path);
  std::string_view rest = text;
  Predictions predictions;
  bool with_confidence = true;
  for (std::int64_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    require(end != std::string_view::npos, "`", path, "`, line ", number, ": it is cut off: `", line, "`");
    rest.remove_prefix(end + 1);
    if (number == 1) {
      with_confidence = line == kHeader;
      require(with_confidence || line == kEarlierHeader, "`", path, "`, line 1: expected `", kHeader, "`, got `", line,
              "`");
    } else {
      require(add_line(predictions, line, with_confidence), "`", path, "`, line ", number, ": expected `",
              predictions.images(), ",LABEL,PREDICTED,PROBABILITY,LOSS", with_confidence ? ",CONFIDENCE" : "",
              "`, got `", line, "`");
    }
  }
  require(predictions.images() > 0, "`", path, "` holds no predictions");
  return predictions;
}

}  // namespace stagewise
