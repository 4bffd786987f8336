// What a number has to be read against: the machine's roofs, measured in the same run, and what else was running.
#pragma once

#include <map>
#include <string>

namespace stagewise::bench {

struct Roof {
  double gflops = 0;     // 10^9 multiplications and additions a second in fused multiply-adds, fp32
  double gigabytes = 0;  // 10^9 bytes a second from and to memory: the better of reading and copying
};
/// The medians of several tries with the best instruction set, on so many threads.
Roof measure_roof(int threads);

/// How busy other processes keep the machine.
class OtherWork {
 public:
  OtherWork() { restart(); }
  void restart();
  /// The share of all cores' time since the last restart that other processes used, 0 to 1.
  double share() const;

 private:
  double busy_ = 0, own_ = 0, total_ = 0;
};

/// The processor time of each of this process's threads so far. Empty where the kernel doesn't say.
std::map<std::string, double> thread_seconds();

std::string processor();
/// `git describe` of the sources, with `-dirty` when they have changed; "unknown" without git.
std::string commit();
int cores();

}  // namespace stagewise::bench
