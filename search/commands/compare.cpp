// `stagewise compare`: what finished runs allow to be said about each other.
#include "search/report/compare.h"

#include <iostream>

#include "search/commands/commands.h"
#include "search/report/gnuplot.h"
#include "tensor/atomic_file.h"

namespace stagewise {

namespace {

struct CompareOptions {
  std::vector<std::string> arms;
  std::string against, csv, picture;
  double margin = 0.2;  // points
};

void run_compare(const CompareOptions& options) {
  Arms arms = read_arms(options.arms);
  for (const std::string& run : arms.left_out) std::cerr << "Left out, as it isn't finished: " << run << '\n';
  const Comparison comparison =
      compare(std::move(arms.arms), {.against = options.against, .margin = options.margin / 100.0});
  std::cout << comparison_text(comparison) << std::flush;
  if (!options.csv.empty()) write_file_atomically(options.csv, comparison_csv(comparison));
  if (!options.picture.empty()) gnuplot::draw(comparison_picture(comparison, options.picture), options.picture);
}

}  // namespace

Command add_compare(CLI::App& program) {
  CLI::App* command = program.add_subcommand("compare", "Set arms of an experiment beside each other, with intervals");
  const auto options = std::make_shared<CompareOptions>();
  command
      ->add_option("arms", options->arms,
                   "A folder of runs called seed-*, a sweep's folder (all its arms), a run, or NAME=RUN,RUN,...")
      ->required();
  command->add_option("--against", options->against, "Compare every arm with this one, instead of every pair");
  command->add_option("--margin", options->margin, "A tie is a difference of surely less than so many points")
      ->check(CLI::Range(0.001, 100.0));
  command->add_option("--csv", options->csv, "Write everything to this file as well");
  command->add_option("--picture", options->picture, "Draw accuracy over work into this file, an SVG (needs gnuplot)");
  return {.app = command, .run = [options] { run_compare(*options); }};
}

}  // namespace stagewise
