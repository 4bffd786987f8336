// config.toml: refused, or values that the options take or refuse; what they took is written and read again as the same.
#include "search/commands/config_file.h"
#include "search/commands/numbers.h"
#include "tests/fuzz/fuzzer.h"

namespace stagewise::fuzz {

namespace {

/// A command with an option of each kind.
struct Command {
  CLI::App app{"", "train"};
  std::int64_t epochs = 8;
  std::uint64_t seed = 0;
  double rate = 0.1;
  std::string data = "synthetic", optimiser = "sgd";
  bool any_device = false;

  Command() {
    app.option_defaults()->always_capture_default();
    app.add_option("--epochs", epochs)->transform(between<std::int64_t>(1, 1000));
    app.add_option("--seed", seed)->transform(between<std::uint64_t>(0, UINT64_MAX));
    app.add_option("--learning-rate", rate)->transform(between(0.0, 10.0));
    app.add_option("--data", data);
    app.add_option("--optimiser", optimiser)->check(CLI::IsMember({"sgd", "adamw"}));
    app.add_flag("--any-device", any_device);
  }
};

}  // namespace

void check(std::string_view bytes) {
  const auto values = read_or_refused([&] { return parse_config(bytes, "FILE"); });
  if (!values) return;
  Command command;
  const auto given = read_or_refused([&] {
    apply_values(command.app, *values, "FILE", UnknownKeys::pass_over);
    return true;
  });
  if (!given) return;
  const std::string written = config_text(command.app, "train");
  Command again;
  apply_values(again.app, parse_config(written, "WRITTEN"), "WRITTEN");
  must(config_text(again.app, "train") == written, "another text when it is written and read again");
  must(again.data == command.data && again.epochs == command.epochs && again.seed == command.seed &&
           again.rate == command.rate && again.any_device == command.any_device,
       "other values when they are written and read again");
}

}  // namespace stagewise::fuzz
