#include "search/report/sweep_table.h"

#include <algorithm>
#include <functional>

#include "search/report/statistics.h"
#include "search/report/table.h"
#include "search/run/text.h"

namespace stagewise {

namespace {

std::string share(std::optional<double> value) { return value ? percent(*value) : "-"; }
std::string millions(std::optional<std::int64_t> value) { return value ? in_millions(*value) : "-"; }
std::string whole(std::optional<std::int64_t> value) { return value ? std::to_string(*value) : ""; }

bool any_validated(const std::vector<SweepRow>& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.run.validation_accuracy.has_value(); });
}

std::vector<std::string> arms_of(const std::vector<SweepRow>& rows) {
  std::vector<std::string> arms;
  for (const SweepRow& row : rows) {
    if (std::find(arms.begin(), arms.end(), row.arm) == arms.end()) arms.push_back(row.arm);
  }
  return arms;
}

using Value = std::function<std::optional<double>(const FinishedRun&)>;

/// Of those runs of the arm that know the value.
Sample sample_in(const std::vector<SweepRow>& rows, const std::string& arm, const Value& value) {
  std::vector<double> values;
  for (const SweepRow& row : rows) {
    if (const auto known = value(row.run); row.arm == arm && known) values.push_back(*known);
  }
  return sample_of(values);
}

std::string mean_share(const Sample& sample) {
  if (sample.count == 0) return "-";
  return percent(sample.mean) + (sample.count > 1 ? " +- " + fixed(100.0 * sample.deviation, 2) : "");
}

std::string runs_text(const std::vector<SweepRow>& rows, bool validated) {
  std::vector<std::string> header = {"arm", "seed", "network", "parameters", "MACs", "work", "test", "time"};
  if (validated) header.insert(header.end() - 1, "validation");
  Table table(header);
  for (const auto& [arm, seed, run] : rows) {
    std::vector<std::string> cells = {arm,
                                      std::to_string(seed),
                                      join(run.blocks),
                                      millions(run.parameters),
                                      millions(run.macs),
                                      in_powers(run.work),
                                      share(run.test_accuracy),
                                      run.seconds ? duration(*run.seconds) : "-"};
    if (validated) cells.insert(cells.end() - 1, share(run.validation_accuracy));
    table.add(cells);
  }
  return table.text();
}

std::string arms_text(const std::vector<SweepRow>& rows, bool validated) {
  std::vector<std::string> header = {"arm", "seeds", "work", "test", "time"};
  if (validated) header.insert(header.end() - 1, "validation");
  Table table(header);
  for (const std::string& arm : arms_of(rows)) {
    const auto of = [&](const Value& value) { return sample_in(rows, arm, value); };
    const Sample work = of([](const FinishedRun& run) { return run.work; });
    const Sample seconds = of([](const FinishedRun& run) { return run.seconds; });
    std::vector<std::string> cells = {arm, std::to_string(of([](const FinishedRun&) { return 0.0; }).count),
                                      work.count > 0 ? in_powers(work.mean) : "-",
                                      mean_share(of([](const FinishedRun& run) { return run.test_accuracy; })),
                                      seconds.count > 0 ? duration(seconds.mean) : "-"};
    if (validated) {
      cells.insert(cells.end() - 1, mean_share(of([](const FinishedRun& run) { return run.validation_accuracy; })));
    }
    table.add(cells);
  }
  return table.text();
}

}  // namespace

std::string sweep_text(const std::vector<SweepRow>& rows) {
  const bool validated = any_validated(rows);
  return runs_text(rows, validated) + "\nMeans over seeds, +- the standard deviation of one:\n" +
         arms_text(rows, validated);
}

std::string sweep_csv(const std::vector<SweepRow>& rows) {
  Table table(
      {"arm", "seed", "network", "parameters", "macs", "work", "test_accuracy", "validation_accuracy", "seconds"});
  for (const auto& [arm, seed, run] : rows) {
    table.add({arm, std::to_string(seed), join(run.blocks), whole(run.parameters), whole(run.macs), exact(run.work),
               exact(run.test_accuracy), exact(run.validation_accuracy), exact(run.seconds)});
  }
  return table.csv();
}

}  // namespace stagewise
