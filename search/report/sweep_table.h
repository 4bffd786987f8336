// A sweep's runs in one table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "search/report/finished_run.h"

namespace stagewise {

struct SweepRow {
  std::string arm;
  std::uint64_t seed = 0;
  FinishedRun run;
};

/// A line a run, then, for each arm in order of appearance, the mean over its seeds and +- the standard deviation
/// (n - 1) of one of them. Accuracies in per cent, work in multiply-accumulates.
std::string sweep_text(const std::vector<SweepRow>& rows);
/// A line a run, all digits: arm,seed,network,parameters,macs,work,test_accuracy,validation_accuracy,seconds; what is
/// not known is left empty.
std::string sweep_csv(const std::vector<SweepRow>& rows);

}  // namespace stagewise
