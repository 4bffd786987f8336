#include "bench/flags.h"

#include <algorithm>
#include <charconv>

#include "tensor/error.h"

namespace stagewise::bench {

namespace {

constexpr const char* kExample = "[--shape] expected one such as n128_32x32x16_k16_3x3_s1, got `";
constexpr std::int64_t kLargest = std::int64_t{1} << 30;  // elements of a tensor

/// The numbers between the letters and lines of `text`, which must be those of n_xx_k_x_s.
std::vector<std::int64_t> numbers_in(const std::string& text) {
  const std::string before[] = {"n", "_", "x", "x", "_k", "_", "x", "_s"};
  std::vector<std::int64_t> numbers;
  const char *at = text.data(), *const end = text.data() + text.size();
  for (const std::string& mark : before) {
    require(std::string(at, end).starts_with(mark), kExample, text, "`");
    std::int64_t number = 0;
    const auto [stop, error] = std::from_chars(at + mark.size(), end, number);
    require(error == std::errc() && number >= 1 && number <= 1 << 16, kExample, text, "`");
    numbers.push_back(number);
    at = stop;
  }
  require(at == end, kExample, text, "`");
  return numbers;
}

}  // namespace

std::optional<std::string> take_flag(const std::string& name, int& argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool apart = argument == name;
    if (!apart && !argument.starts_with(name + "=")) continue;
    require(!apart || i + 1 < argc, "[", name, "] expected a value behind it");
    const std::string value = apart ? argv[i + 1] : argument.substr(name.size() + 1);
    argc = static_cast<int>(std::copy(argv + i + (apart ? 2 : 1), argv + argc, argv + i) - argv);
    return value;
  }
  return {};
}

std::optional<std::int64_t> batch_flag(int& argc, char** argv) {
  const std::optional<std::string> text = take_flag("--batch", argc, argv);
  if (!text) return {};
  std::int64_t batch = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), batch);
  require(error == std::errc() && end == text->data() + text->size() && batch >= 2 && batch <= 1 << 16,
          "[--batch] expected a number of images from 2 to 65536, got `", *text, "`");
  return batch;
}

std::optional<primitive_cases::ConvolutionSize> shape_flag(int& argc, char** argv) {
  const std::optional<std::string> given = take_flag("--shape", argc, argv);
  if (!given) return {};
  const std::string& text = *given;
  const std::vector<std::int64_t> n = numbers_in(text);
  const primitive_cases::ConvolutionSize size{n[0], n[1], n[2], n[3], n[4], n[5], n[6], {n[7], n[5] / 2, n[5] / 2}};
  require(n[5] == n[6], "[--shape] expected a square filter, got ", n[5], "x", n[6]);
  require(n[5] <= n[1] + 2 * (n[5] / 2) && n[6] <= n[2] + 2 * (n[5] / 2),
          "[--shape] expected an image no smaller than the filter, got `", text, "`");
  for (const std::int64_t elements : {n[0] * n[1] * n[2], n[4] * n[5] * n[6]}) {
    require(elements <= kLargest / std::max(n[3], n[4]), "[--shape] expected tensors of at most 2^30 elements, got `",
            text, "`");
  }
  return size;
}

}  // namespace stagewise::bench
