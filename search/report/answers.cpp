#include "search/report/answers.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <numeric>

#include "search/report/table.h"
#include "search/run/text.h"
#include "tensor/enum_names.h"

namespace stagewise {

namespace {

std::size_t default_top(AnswerFormat format, std::size_t classes) {
  return format == AnswerFormat::text ? 3 : format == AnswerFormat::csv ? 1 : classes;
}

/// The labels, the likeliest first; of equals the lower one.
std::vector<std::size_t> by_probability(std::span<const double> probabilities) {
  std::vector<std::size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return probabilities[a] > probabilities[b]; });
  return order;
}

/// The number whose digits are the shortest that bring the float back: no device computes more.
double as_short(double probability) {
  char text[64];
  const char* const end = std::to_chars(text, text + sizeof text, static_cast<float>(probability)).ptr;
  double value = 0.0;
  std::from_chars(text, end, value);
  return value;
}

}  // namespace

std::string name_of(AnswerFormat format) {
  return format == AnswerFormat::text ? "text" : format == AnswerFormat::csv ? "csv" : "jsonl";
}

AnswerFormat answer_format_from(const std::string& name) {
  return enum_from_name("--format", name, {AnswerFormat::text, AnswerFormat::csv, AnswerFormat::jsonl});
}

Answers::Answers(AnswerFormat format, std::vector<std::string> classes, std::optional<std::size_t> top)
    : format_(format), classes_(std::move(classes)), top_(top.value_or(default_top(format, classes_.size()))) {
  top_ = std::min(top_, classes_.size());
}

std::string Answers::header() const {
  if (format_ != AnswerFormat::csv) return "";
  std::string text = "file,class,probability";
  for (std::size_t place = 2; place <= top_; ++place) text += concat(",class_", place, ",probability_", place);
  return text + "\n";
}

std::string Answers::line(const std::string& file, std::span<const double> probabilities) const {
  std::vector<std::size_t> order = by_probability(probabilities);
  order.resize(top_);
  if (format_ == AnswerFormat::jsonl) {
    nlohmann::ordered_json answer{{"file", as_utf8(file)}, {"class", as_utf8(classes_[order.front()])}};
    nlohmann::ordered_json& named = answer["probabilities"] = nlohmann::ordered_json::object();
    for (const std::size_t label : order) named[as_utf8(classes_[label])] = as_short(probabilities[label]);
    return answer.dump() + "\n";
  }
  const bool csv = format_ == AnswerFormat::csv;
  std::string text = csv ? csv_cell(file) : printable(file) + ":";
  for (std::size_t place = 0; place < order.size(); ++place) {
    const std::size_t label = order[place];
    text += csv ? "," + csv_cell(classes_[label]) + "," + exact(as_short(probabilities[label]))
                : (place > 0 ? ", " : " ") + printable(classes_[label]) + " " + percent(probabilities[label]);
  }
  return text + "\n";
}

}  // namespace stagewise
