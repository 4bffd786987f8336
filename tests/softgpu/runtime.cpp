#include "runtime.h"

#include <cxxabi.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "softgpu.h"

namespace softgpu {
namespace {

std::string running_name;
std::string report_text;
cudaError_t sticky = cudaSuccess;
cudaError_t last = cudaSuccess;

[[noreturn]] void refuse_setting(const char* name, const char* value, const char* expected) {
  std::fprintf(stderr, "softgpu: %s=%s: expected %s\n", name, value, expected);
  std::exit(2);
}

bool contains(const char* list, const char* word) {
  std::stringstream words(list);
  for (std::string item; std::getline(words, item, ',');) {
    if (item == word) return true;
  }
  return false;
}

Settings from_environment() {
  Settings result;
  if (const char* order = std::getenv("SOFTGPU_ORDER"); order && !parse_order(order, result)) {
    refuse_setting("SOFTGPU_ORDER", order, "forward, reverse or random:SEED");
  }
  if (const char* streams = std::getenv("SOFTGPU_STREAMS")) {
    if (std::strcmp(streams, "lazy") != 0 && std::strcmp(streams, "eager") != 0) {
      refuse_setting("SOFTGPU_STREAMS", streams, "lazy or eager");
    }
    result.lazy_streams = std::strcmp(streams, "lazy") == 0;
  }
  if (const char* lanes = std::getenv("SOFTGPU_LANES")) {
    if (std::strcmp(lanes, "together") != 0 && std::strcmp(lanes, "apart") != 0) {
      refuse_setting("SOFTGPU_LANES", lanes, "together or apart");
    }
    result.lanes_apart = std::strcmp(lanes, "apart") == 0;
  }
  if (const char* device = std::getenv("SOFTGPU_DEVICE")) {
    if (std::sscanf(device, "sm_%d", &result.compute_capability) != 1 || result.compute_capability < 75) {
      refuse_setting("SOFTGPU_DEVICE", device, "sm_75 or later");
    }
  }
  if (const char* memory = std::getenv("SOFTGPU_MEMORY")) {
    result.memory_bytes = std::strtoull(memory, nullptr, 10) << 20;
    if (result.memory_bytes == 0) refuse_setting("SOFTGPU_MEMORY", memory, "a number of MiB");
  }
  if (const char* ignored = std::getenv("SOFTGPU_IGNORE")) {
    result.check_races = !contains(ignored, "races");
    result.check_uninitialised = !contains(ignored, "uninitialised");
  }
  result.bits_promised = std::getenv("SOFTGPU_BITS") != nullptr;
  result.trace = std::getenv("SOFTGPU_TRACE") != nullptr;
  result.report_leaks = std::getenv("SOFTGPU_LEAKS") != nullptr;
  return result;
}

}  // namespace

Settings& settings() {
  static Settings instance = from_environment();
  return instance;
}

bool parse_order(const std::string& text, Settings& settings) {
  if (text == "forward") return settings.order = Order::forward, true;
  if (text == "reverse") return settings.order = Order::reverse, true;
  unsigned long long seed = 0;
  if (text != "random" && std::sscanf(text.c_str(), "random:%llu", &seed) != 1) return false;
  settings.order = Order::random;
  settings.seed = seed;
  return true;
}

void set_running(const std::string& name) { running_name = name; }
const std::string& running() { return running_name; }

void report(const DeviceError& error) {
  report_text = error.message;
  std::stringstream lines(error.message);
  for (std::string line; std::getline(lines, line);) std::fprintf(stderr, "softgpu: %s\n", line.c_str());
  std::fprintf(stderr, "softgpu:   CUDA says %s from now on\n", cudaGetErrorName(error.code));
  if (sticky == cudaSuccess) sticky = error.code;
}

cudaError_t refuse(cudaError_t code, const std::string& what) {
  report_text = what;
  std::fprintf(stderr, "softgpu: %s\n", what.c_str());
  return code;
}

const std::string& last_report() { return report_text; }

cudaError_t sticky_error() { return sticky; }

void forget_sticky_error() {
  sticky = last = cudaSuccess;
  report_text.clear();
}

cudaError_t remember(cudaError_t code) {
  if (code != cudaSuccess && code != cudaErrorNotReady) last = code;
  return code;
}

cudaError_t peek_last_error() { return sticky != cudaSuccess ? sticky : last; }

cudaError_t take_last_error() {
  const cudaError_t result = peek_last_error();
  last = cudaSuccess;
  return result;
}

std::recursive_mutex& global_lock() {
  static std::recursive_mutex lock;
  return lock;
}

std::string demangled(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  for (const std::string noise : {"(anonymous namespace)::", "void "}) {
    for (std::size_t at; (at = result.find(noise)) != std::string::npos;) result.erase(at, noise.size());
  }
  // A function without its parameters; a variable in a function by its own name.
  int depth = 0;
  for (std::size_t i = result.size(); i-- > 0;) {
    if (result.compare(i, 3, ")::") == 0 && depth == 0) return result.substr(i + 3);
    depth += result[i] == ')' ? 1 : result[i] == '(' ? -1 : 0;
    if (result[i] == '(' && depth == 0) return result.substr(0, i);
  }
  return result;
}

}  // namespace softgpu
