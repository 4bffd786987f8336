// How long the rest of a run takes: its work is known, and so is the speed of the work done so far.
#pragma once

#include <cstdint>
#include <string>

namespace stagewise {

class Forecast {
 public:
  void add(std::int64_t work, double seconds) {
    work_ += static_cast<double>(work);
    seconds_ += seconds;
  }
  /// `4 min 10 s left`; empty while nothing is done yet or when nothing is left.
  std::string left(std::int64_t work) const;

 private:
  double work_ = 0.0, seconds_ = 0.0;
};

}  // namespace stagewise
