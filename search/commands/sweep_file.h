// The file of `stagewise sweep`: which runs an experiment is made of.
//
//   out = "runs/depth"            # where the runs go: OUT/ARM/seed-N
//   seeds = [1, 2, 3]
//   [common]                      # long options without the dashes, of every arm
//   data = "data"
//   epochs = 8
//   [arms.shallow]
//   command = "train"             # or "search"
//   blocks = [1, 1, 1]
//   [arms.grown]
//   command = "search"
//   start = [1, 1, 1]
//   seeds = [1, 2, 3, 4]          # instead of the file's
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace stagewise {

struct SweepRun {
  std::string arm, command;
  std::uint64_t seed = 0;
  std::vector<std::pair<std::string, std::string>> options;  // name without dashes, value
  std::string path;                                          // of the run's folder

  /// `arm/seed-N`
  std::string name() const;
  /// The options as a command line takes them: --name=value, the seed's among them.
  std::vector<std::string> arguments() const;
};

struct Sweep {
  std::string out;
  std::vector<SweepRun> runs;  // all arms with the first seed, in the file's order, then all with the second, ...
};

/// `out` and `data`, where they aren't empty, take the place of the file's. Errors: throws Error, with file and line,
/// for what isn't TOML, for keys that have no meaning and for values that no option could take; whether the options
/// exist is checked where the commands are known.
Sweep read_sweep(const std::string& path, const std::string& out, const std::string& data);

}  // namespace stagewise
