// The program's commands. Each file adds one to the command line and returns how to run it.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace stagewise {

struct Command {
  CLI::App* app = nullptr;
  std::function<void()> run;
};

Command add_search(CLI::App& program);
Command add_train(CLI::App& program);
Command add_retrain(CLI::App& program);
Command add_transfer(CLI::App& program);
Command add_evaluate(CLI::App& program);
Command add_score(CLI::App& program);
Command add_predict(CLI::App& program);
Command add_describe(CLI::App& program);
Command add_tune(CLI::App& program);
Command add_devices(CLI::App& program);
Command add_sweep(CLI::App& program);
Command add_compare(CLI::App& program);
Command add_export(CLI::App& program);
Command add_report(CLI::App& program);
Command add_manual(CLI::App& program);
Command add_completions(CLI::App& program);

}  // namespace stagewise
