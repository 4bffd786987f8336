// The energy that this machine's processors take, where it says so: Intel's and AMD's by RAPL (Linux: Documentation/
// power/powercap), NVIDIA's card by NVML (nvmlDeviceGetTotalEnergyConsumption, Volta and newer). Whatever else runs
// here meanwhile is in it, memory and fans mostly aren't.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace stagewise {

class EnergyMeter {
 public:
  /// Counts from now on: all processors, and with `card` the card, too. `powercap` is where Linux shows RAPL's counters.
  explicit EnergyMeter(bool card, const std::string& powercap = "/sys/class/powercap");
  ~EnergyMeter();
  EnergyMeter(const EnergyMeter&) = delete;
  EnergyMeter& operator=(const EnergyMeter&) = delete;

  /// Joules since it was made or asked last; nothing where the machine doesn't tell, or only in part. RAPL's counters
  /// begin anew after a quarter of a megajoule or more (an hour at 70 W): ask more often than that.
  std::optional<double> take();
  /// `RAPL`, `RAPL and NVML`; empty where nothing tells. Reading RAPL needs root on many machines.
  const std::string& source() const { return source_; }

 private:
  struct Package {
    std::string file;  // its counter, in microjoules
    double last = 0.0, range = 0.0;
  };
  class Card;

  std::vector<Package> packages_;
  std::unique_ptr<Card> card_;
  std::string source_;
};

}  // namespace stagewise
