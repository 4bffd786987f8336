// Rows and columns, as people read them and as programs do.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace stagewise {

/// Cells are text. The first column is aligned on the left, numbers behind it on the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  /// Errors: throws std::logic_error for another number of cells than the header has.
  void add(std::vector<std::string> cells);
  /// A line a row, the columns as wide as they must be.
  std::string text() const;
  /// A line a row; cells with commas, quotes or line ends stand between quotes (RFC 4180).
  std::string csv() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// A cell of a CSV file: between quotes where it holds commas, quotes or line ends (RFC 4180).
std::string csv_cell(const std::string& text);

/// 3.07e13; an absent number is a dash.
std::string in_powers(std::optional<double> number);
/// An absent number is an empty cell, others have the digits that bring them back.
std::string exact(std::optional<double> number);

}  // namespace stagewise
