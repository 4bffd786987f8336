#include "search/report/table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "search/run/text.h"

namespace stagewise {

namespace {

int columns_of(const std::string& text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

void Table::add(std::vector<std::string> cells) {
  if (cells.size() != rows_.front().size()) throw std::logic_error("[Table] another number of cells than the header");
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<int> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns_of(row[i]));
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line = left(row[0], widths[0]);
    for (std::size_t i = 1; i < row.size(); ++i) line += "  " + right(row[i], widths[i]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string Table::csv() const {
  std::string text;
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) text += (i > 0 ? "," : "") + csv_cell(row[i]);
    text += "\n";
  }
  return text;
}

std::string in_powers(std::optional<double> number) {
  if (!number) return "-";
  if (*number <= 0.0) return fixed(*number, 0);
  auto power = static_cast<int>(std::floor(std::log10(*number)));
  if (*number / std::pow(10.0, power) >= 9.995) ++power;  // which rounds to ten
  return fixed(*number / std::pow(10.0, power), 2) + "e" + std::to_string(power);
}

std::string exact(std::optional<double> number) {
  if (!number) return "";
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, *number).ptr};
}

}  // namespace stagewise
