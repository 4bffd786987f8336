// What a network says of single images, as text, CSV or JSON lines.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace stagewise {

enum class AnswerFormat { text, csv, jsonl };

/// `text`, `csv` or `jsonl`. Errors: answer_format_from throws Error for any other name.
std::string name_of(AnswerFormat format);
AnswerFormat answer_format_from(const std::string& name);

/// One line an image, whatever the format:
///  text   `cat.jpg: cat 93.10%, dog 4.02%, fox 1.11%`
///  csv    file,class,probability, and with a `top` of n: class_2,probability_2, ..., class_n,probability_n
///  jsonl  {"file":"cat.jpg","class":"cat","probabilities":{"cat":0.931,...}}, the likeliest first
/// Names that aren't UTF-8 are escaped in text and JSON (`\xE9`), and stand as they are in CSV.
class Answers {
 public:
  /// `classes` are the names, by label. `top`: how many classes are named; by default 3, 1 and all of them.
  Answers(AnswerFormat format, std::vector<std::string> classes, std::optional<std::size_t> top);

  /// What comes before the first line: CSV's names of columns, or nothing.
  std::string header() const;
  std::string line(const std::string& file, std::span<const double> probabilities) const;

 private:
  AnswerFormat format_;
  std::vector<std::string> classes_;
  std::size_t top_;
};

}  // namespace stagewise
