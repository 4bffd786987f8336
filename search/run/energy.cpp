#include "search/run/energy.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace stagewise {

namespace fs = std::filesystem;

namespace {

std::optional<double> number_in(const fs::path& file) {
  double number = 0.0;
  std::ifstream stream(file);
  return stream >> number ? std::optional(number) : std::nullopt;
}

}  // namespace

/// NVML's library comes with the driver, so it is looked for at run time. The names and types are those of nvml.h.
class EnergyMeter::Card {
 public:
  Card() : library_(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
    if (library_ == nullptr) return;
    const auto init = function<int()>("nvmlInit_v2");
    const auto count = function<int(unsigned*)>("nvmlDeviceGetCount_v2");
    const auto handle = function<int(unsigned, void**)>("nvmlDeviceGetHandleByIndex_v2");
    energy_ = function<int(void*, unsigned long long*)>("nvmlDeviceGetTotalEnergyConsumption");
    unsigned cards = 0;
    // Of several cards nothing here knows which one computes.
    const bool one = init != nullptr && count != nullptr && handle != nullptr && energy_ != nullptr && init() == 0 &&
                     count(&cards) == 0 && cards == 1 && handle(0, &device_) == 0;
    if (!one) device_ = nullptr;
  }
  ~Card() {
    if (library_ == nullptr) return;
    if (const auto shutdown = function<int()>("nvmlShutdown"); shutdown != nullptr) shutdown();
    dlclose(library_);
  }
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  /// Joules since the driver was loaded.
  std::optional<double> joules() const {
    unsigned long long millijoules = 0;
    if (device_ == nullptr || energy_(device_, &millijoules) != 0) return {};
    return static_cast<double>(millijoules) / 1e3;
  }
  double last = 0.0;

 private:
  template <class F>
  F* function(const char* name) const {
    return reinterpret_cast<F*>(dlsym(library_, name));
  }

  void* library_;
  void* device_ = nullptr;
  int (*energy_)(void*, unsigned long long*) = nullptr;
};

EnergyMeter::EnergyMeter(bool card, const std::string& powercap) {
  std::error_code error;
  for (fs::directory_iterator entry(powercap, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    // `intel-rapl:0` is a package (AMD's, too); `intel-rapl:0:1`, a part of it, and `intel-rapl-mmio:0` would count twice.
    if (!name.starts_with("intel-rapl:") || std::count(name.begin(), name.end(), ':') != 1) continue;
    const fs::path counter = entry->path() / "energy_uj";
    const auto now = number_in(counter), range = number_in(entry->path() / "max_energy_range_uj");
    if (now && range) packages_.push_back({.file = counter, .last = *now, .range = *range});
  }
  if (!packages_.empty()) source_ = "RAPL";
  if (!card) return;
  card_ = std::make_unique<Card>();
  const auto now = card_->joules();
  if (!now) {
    source_.clear();  // without the card that does the work, it would be a wrong figure
    return;
  }
  card_->last = *now;
  source_ += source_.empty() ? "NVML (the card alone)" : " and NVML";
}

EnergyMeter::~EnergyMeter() = default;

std::optional<double> EnergyMeter::take() {
  if (source_.empty()) return {};
  double joules = 0.0;
  for (Package& package : packages_) {
    const auto now = number_in(package.file);
    if (!now) return {};
    joules += (*now - package.last + (*now < package.last ? package.range : 0.0)) / 1e6;
    package.last = *now;
  }
  if (card_ != nullptr) {
    const auto now = card_->joules();
    if (!now) return {};
    joules += *now - card_->last;
    card_->last = *now;
  }
  return joules;
}

}  // namespace stagewise
