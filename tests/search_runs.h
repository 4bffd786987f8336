// Runs on small images: to their end in one go, or stopped wherever they can be.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "cpu/cpu_backend.h"
#include "search/run/interrupt.h"
#include "search/search_run.h"
#include "search/training/network_tensors.h"
#include "tensor/atomic_file.h"
#include "tests/small_data.h"
#include "tests/temporary_folder.h"

namespace stagewise {

class SearchRuns : public testing::Test {
 protected:
  SearchRuns() : data_(small_data(*backend_, 60, 20)) {
    options_.start = {1, 1};
    options_.strategy = "stagewise";
    options_.training.epochs = 6;
    options_.training.batch_size = 12;
    options_.training.schedule.peak = 0.05;
  }
  ~SearchRuns() override { request_interrupt(false); }

  /// Each strategy with options that make it do all that it can.
  SearchOptions options_of(const std::string& strategy) const {
    SearchOptions options = options_;
    options.strategy = strategy;
    if (strategy == "stagewise") options.grow_to = {2, 3};
    if (strategy == "jump") options.grow_to = {3, 2};
    if (strategy == "paper") options.iterations = 1, options.criterion = "uniform";
    if (strategy == "evolution") options.models = 3;
    return options;
  }
  static std::vector<std::string> strategies() { return {"train", "stagewise", "jump", "paper", "evolution"}; }

  RunDirectory new_run(const std::string& name) const { return RunDirectory::create(folder_.path(name), "search"); }

  /// Runs to the end in one go.
  SearchState run_through(const RunDirectory& run) { return run_through(run, options_); }
  SearchState run_through(const RunDirectory& run, const SearchOptions& options) {
    SearchRun search(*backend_, data_, options, run, progress_);
    while (search.step()) {
    }
    return search.state();
  }

  /// Runs to the end, forgetting everything but the run's folder after every step. Returns how many there were.
  int run_in_pieces(const RunDirectory& run, const SearchOptions& options) {
    for (int steps = 0;; ++steps) {
      SearchRun search(*backend_, data_, options, run, progress_);
      if (!search.step()) return steps;
    }
  }

  /// What the journal says, without what depends on the clock.
  static std::vector<nlohmann::json> journal_of(const RunDirectory& run, const std::string& event = "") {
    std::vector<nlohmann::json> events;
    std::istringstream lines(read_file(run.journal()));
    for (std::string line; std::getline(lines, line);) {
      nlohmann::json parsed = nlohmann::json::parse(line);
      for (const char* clock : {"seconds", "utc", "images_per_second"}) parsed.erase(clock);
      if (event.empty() || parsed["event"] == event) events.push_back(std::move(parsed));
    }
    return events;
  }

  static void expect_equal_results(const RunDirectory& a, const RunDirectory& b) {
    EXPECT_EQ(read_file(a.model()), read_file(b.model()));
    EXPECT_EQ(read_file(a.architecture()), read_file(b.architecture()));
    EXPECT_EQ(journal_of(a), journal_of(b));
  }

  static std::vector<std::int64_t> blocks_of(const RunDirectory& run) {
    return Architecture::from_json(read_file(run.architecture())).depths();
  }

  static std::map<std::string, std::vector<unsigned char>> tensors_of(const Network& network) {
    Safetensors file;
    store_network(network, "", file);
    std::map<std::string, std::vector<unsigned char>> bytes;
    for (const auto& [name, entry] : file.tensors) bytes[name] = entry.bytes;
    return bytes;
  }

  Progress progress_{/*quiet=*/true};
  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  RunData data_;
  SearchOptions options_;
  TemporaryFolder folder_;
};

}  // namespace stagewise
