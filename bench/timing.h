// What the benches of single calls share: outputs checked before and after, and sets of tensors used in turn.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/machine.h"
#include "tests/primitive_cases.h"

namespace stagewise::bench {

/// The elements of each output.
using Values = std::vector<std::vector<double>>;

/// A call with tensors of its own.
struct TimedCall {
  std::function<void()> run;
  std::function<Values()> outputs;
};
TimedCall timed_call(const primitive_cases::Call& call);

/// The reference backend's outputs, computed when first asked for: a filter may leave their row out.
class Expected {
 public:
  explicit Expected(primitive_cases::PrimitiveCase primitive) : primitive_(std::move(primitive)) {}
  const Values& values();

 private:
  primitive_cases::PrimitiveCase primitive_;
  Values values_;
};

/// How far fp32 sums of so many terms may be from the reference, relative to the largest value.
double tolerance(std::int64_t reduction);

struct TimedRow {
  std::string name;
  double flops = 0, bytes = 0;
  std::function<TimedCall()> make;
  std::shared_ptr<Expected> expected;
  double tolerance = 0;
  Roof roof;
};

/// Registers the row as NAME/hot, the same tensors again and again, or as NAME/cold, as many sets in turn as pass the
/// last-level cache. With a `suffix` it is NAME/hot/SUFFIX.
void register_row(const TimedRow& row, bool cold, const std::string& suffix = "");

}  // namespace stagewise::bench
