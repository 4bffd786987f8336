// Kernels with a bug planted in each, beside the same kernels without it: the software GPU's own test.
#pragma once

#include <ostream>
#include <vector>

namespace softgpu_test {

struct PlantedBug {
  /// The comment `// BUG: name` marks the line in planted_bugs.cu that the report must name; where two accesses race,
  /// either may be the second, and both are marked.
  const char* name;
  /// What the report must say.
  const char* report;
  /// Runs it, corrected or not; whether the result is what the host computes (for corrected ones).
  bool (*run)(bool corrected);
  /// What the report names: `host`, where the mistake is between launches, no line; `kernel` no thread.
  enum class Place { host, kernel, thread };
  Place place = Place::thread;
};

inline void PrintTo(const PlantedBug& bug, std::ostream* out) { *out << bug.name; }

/// All of them.
std::vector<PlantedBug> planted_bugs();
/// Those that no kernel has any part in.
std::vector<PlantedBug> planted_host_bugs();

}  // namespace softgpu_test
