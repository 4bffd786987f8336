// Did anything get faster or slower between two runs of a bench? Reads two files that Google Benchmark wrote with
//   --benchmark_repetitions=9 --benchmark_out=A.json --benchmark_out_format=json
// and calls a difference one only when it is beyond the noise: Mann-Whitney's p < 0.01, and medians 2% apart. A folder
// stands for all the files in it: repetitions that bench/ab made in turn.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/mann_whitney.h"
#include "tensor/error.h"

namespace stagewise {
namespace {

using nlohmann::json;

constexpr double kSignificant = 0.01;
constexpr double kMatters = 0.02;    // of the median
constexpr double kDisturbed = 0.1;   // of the machine's time: clock ticks are long beside a repetition
constexpr double kSameClock = 0.05;  // the clock that the system reports wanders

struct Results {
  std::string path;
  json context;
  std::vector<std::string> names;                    // in the file's order
  std::map<std::string, std::vector<double>> times;  // nanoseconds of an iteration, one for each repetition
  std::map<std::string, double> others;              // share of the machine that others took, mean of the repetitions
};

double nanoseconds(const json& row) {
  const std::map<std::string, double> units = {{"ns", 1.0}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
  const std::string unit = row.at("time_unit");
  require(units.contains(unit), "expected a time_unit of ns, us, ms or s, got ", unit);
  return row.at("real_time").get<double>() * units.at(unit);
}

/// Adds what `file` holds to `results`; the share of others as a sum.
void add(const json& file, Results& results) {
  results.context = file.at("context");
  for (const json& row : file.at("benchmarks")) {
    if (row.at("run_type") != "iteration" || row.value("error_occurred", false)) continue;
    std::vector<double>& times = results.times[row.at("run_name")];
    if (times.empty()) results.names.push_back(row.at("run_name"));
    times.push_back(nanoseconds(row));
    results.others[row.at("run_name")] += row.value("others", 0.0);
  }
}

void add(const std::string& path, Results& results) {
  std::ifstream file(path);
  require(file.good(), "can't open `", path, "`");
  try {
    add(json::parse(file), results);
  } catch (const json::exception& error) {
    fail("`", path, "` is not Google Benchmark's JSON: ", error.what());
  } catch (const Error& error) {
    fail("`", path, "`: ", error.what());
  }
}

std::vector<std::string> files_of(const std::string& path) {
  if (!std::filesystem::is_directory(path)) return {path};
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path().string());
  }
  require(!files.empty(), "`", path, "` holds no .json files");
  std::sort(files.begin(), files.end());
  return files;
}

Results read(const std::string& path) {
  Results results{.path = path, .context = {}, .names = {}, .times = {}, .others = {}};
  for (const std::string& file : files_of(path)) add(file, results);
  for (auto& [name, share] : results.others) share /= static_cast<double>(results.times[name].size());
  require(!results.times.empty(), "`", path,
          "`: expected rows of single repetitions, got none: was it written with "
          "--benchmark_report_aggregates_only?");
  return results;
}

std::string shown(const json& context, const char* key) {
  const auto found = context.find(key);
  if (found == context.end()) return "unknown";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

bool same_clock(const json& a, const json& b) {
  const double x = a.value("mhz_per_cpu", 0.0), y = b.value("mhz_per_cpu", 0.0);
  return std::abs(x - y) <= kSameClock * std::max(x, y);
}

// The host's name says nothing: machines of one kind have many.
void print_contexts(const Results& a, const Results& b) {
  for (const auto& [letter, results] : {std::pair("A", &a), std::pair("B", &b)}) {
    std::cout << letter << ": " << results->path << ", commit " << shown(results->context, "commit") << ", machine "
              << shown(results->context, "machine") << ", " << shown(results->context, "num_cpus") << " processors at "
              << shown(results->context, "mhz_per_cpu") << " MHz, " << shown(results->context, "date") << '\n';
  }
  const bool same = shown(a.context, "machine") == shown(b.context, "machine") &&
                    shown(a.context, "num_cpus") == shown(b.context, "num_cpus") && same_clock(a.context, b.context);
  if (!same) std::cout << "These are different machines: what differs below may be theirs.\n";
}

struct Comparison {
  double before = 0.0, after = 0.0, p = 1.0;
  bool decidable = true;  // enough repetitions for a p below kSignificant
  double others = 0.0;    // the larger share of the two runs
  double change() const { return after / before - 1.0; }
  bool disturbed() const { return others > kDisturbed; }
  bool differs() const { return !disturbed() && p < kSignificant && std::abs(change()) > kMatters; }
  bool slower() const { return differs() && change() > 0.0; }
  const char* verdict() const {
    if (disturbed()) return "disturbed";
    if (!decidable) return "too few repetitions to tell";
    return !differs() ? "no difference" : slower() ? "SLOWER" : "faster";
  }
};

Comparison compared(const Results& before, const Results& after, const std::string& name) {
  const std::vector<double>&a = before.times.at(name), &b = after.times.at(name);
  // The least p there is: that of samples that don't overlap.
  const auto n = static_cast<double>(a.size()), m = static_cast<double>(b.size());
  const double orders = std::exp(std::lgamma(n + m + 1.0) - std::lgamma(n + 1.0) - std::lgamma(m + 1.0));
  return {.before = median_of(a),
          .after = median_of(b),
          .p = mann_whitney(a, b).p,
          .decidable = 2.0 / orders < kSignificant,
          .others = std::max(before.others.at(name), after.others.at(name))};
}

std::string duration(double nanoseconds) {
  const std::vector<std::pair<double, const char*>> units = {{1e9, " s"}, {1e6, " ms"}, {1e3, " us"}};
  std::ostringstream text;
  for (const auto& [size, name] : units) {
    if (nanoseconds < size) continue;
    text << std::setprecision(4) << nanoseconds / size << name;
    return text.str();
  }
  text << std::setprecision(4) << nanoseconds << " ns";
  return text.str();
}

void print_row(const std::string& name, int width, const Comparison& row) {
  std::ostringstream change, p;
  change << std::showpos << std::fixed << std::setprecision(1) << 100.0 * row.change() << '%';
  p << std::setprecision(2) << row.p;
  std::cout << std::left << std::setw(width) << name << std::right << std::setw(12) << duration(row.before)
            << std::setw(12) << duration(row.after) << std::setw(10) << change.str() << std::setw(10) << p.str() << "  "
            << row.verdict();
  if (row.disturbed()) std::cout << " (others took " << std::lround(100.0 * row.others) << "% of the machine)";
  std::cout << '\n';
}

// Names that only one of the two files has.
void print_unpaired(const Results& here, const Results& there) {
  for (const std::string& name : here.names) {
    if (!there.times.contains(name)) std::cout << "only in " << here.path << ": " << name << '\n';
  }
}

// How many rows got slower.
int print_comparison(const Results& a, const Results& b) {
  print_contexts(a, b);
  std::size_t width = 4;
  for (const std::string& name : a.names) width = std::max(width, name.size());
  const int column = static_cast<int>(width);
  std::cout << '\n'
            << std::left << std::setw(column) << "row" << std::right << std::setw(12) << "median A" << std::setw(12)
            << "median B" << std::setw(10) << "change" << std::setw(10) << "p"
            << "  verdict\n";
  int slower = 0, disturbed = 0;
  for (const std::string& name : a.names) {
    if (!b.times.contains(name)) continue;
    const Comparison row = compared(a, b, name);
    print_row(name, column, row);
    slower += row.slower();
    disturbed += row.disturbed();
  }
  print_unpaired(a, b);
  print_unpaired(b, a);
  if (disturbed > 0) {
    std::cout << '\n' << disturbed << " rows had company in one run or both: measure again on a quiet machine.\n";
  }
  return slower;
}

}  // namespace
}  // namespace stagewise

int main(int argc, char** argv) {
  std::string before, after;
  bool fail_if_slower = false;
  CLI::App program("Compares two runs of a bench: what got faster or slower, beyond the noise.", "compare");
  program.add_option("A", before, "Google Benchmark's JSON with single repetitions, or a folder of such files")
      ->required();
  program.add_option("B", after, "The same, of the run to judge")->required();
  program.add_flag("--fail-if-slower", fail_if_slower, "Exit code 1 when a row got slower");
  try {
    program.parse(argc, argv);
    const int slower = stagewise::print_comparison(stagewise::read(before), stagewise::read(after));
    return fail_if_slower && slower > 0 ? 1 : 0;
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : 2;
  } catch (const stagewise::Error& error) {
    std::cerr << "compare: " << error.what() << '\n';
    return 2;
  }
}
