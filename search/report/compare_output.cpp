// A comparison as text, CSV and picture.
#include <algorithm>
#include <cmath>
#include <sstream>

#include "search/report/compare.h"
#include "search/report/gnuplot.h"
#include "search/report/table.h"
#include "search/run/text.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

/// The mean over those runs that know the value.
std::optional<double> mean_of(const Arm& arm, std::optional<double> FinishedRun::*value) {
  std::vector<double> values;
  for (const FinishedRun& run : arm.runs) {
    if (run.*value) values.push_back(*(run.*value));
  }
  return values.empty() ? std::nullopt : std::optional(sample_of(values).mean);
}

/// Each once, in the order of the runs.
std::string networks_of(const Arm& arm) {
  std::vector<std::string> networks;
  for (const FinishedRun& run : arm.runs) {
    const std::string network = join(run.blocks);
    if (std::find(networks.begin(), networks.end(), network) == networks.end()) networks.push_back(network);
  }
  std::string text;
  for (const std::string& network : networks) text += (text.empty() ? "" : " ") + network;
  return text;
}

std::string points(double share) { return fixed(100.0 * share, 2); }
std::string signed_points(double share) { return (share < 0.0 ? "" : "+") + points(share); }

std::string arms_text(const Comparison& comparison) {
  Table table({"arm", "network", "seeds", "mean", "95% interval", "deviation", "work", "time", "every seed"});
  for (const Arm& arm : comparison.arms) {
    const Sample sample = sample_of(arm.accuracies());
    const double half = half_width(sample);
    std::string seeds;
    for (const double accuracy : arm.accuracies()) seeds += (seeds.empty() ? "" : " ") + points(accuracy);
    const auto seconds = mean_of(arm, &FinishedRun::seconds);
    const bool several = sample.count > 1;
    table.add({arm.name, networks_of(arm), std::to_string(sample.count), points(sample.mean),
               several ? points(sample.mean - half) + " .. " + points(sample.mean + half) : "-",
               several ? points(sample.deviation) : "-", in_powers(mean_of(arm, &FinishedRun::work)),
               seconds ? duration(*seconds) : "-", seeds});
  }
  return table.text();
}

std::string p_text(double p) { return p < 0.001 ? "<.001" : fixed(p, 3); }

std::string pairs_text(const Comparison& comparison) {
  Table table({"arm", "against", "difference", "95% interval", "by seeds", "by images", "p", "p of a tie", "verdict"});
  for (const Pair& pair : comparison.pairs) {
    const std::string &a = comparison.arms[pair.a].name, &b = comparison.arms[pair.b].name;
    if (!pair.difference) {
      table.add({a, b, "-", "-", "-", "-", "-", "-", pair.verdict + ": one seed"});
      continue;
    }
    const Difference& difference = *pair.difference;
    const double half = difference.half_width();
    const bool images = !comparison.arms[pair.a].shares.right.empty() && !comparison.arms[pair.b].shares.right.empty();
    table.add({a, b, signed_points(difference.mean),
               signed_points(difference.mean - half) + " .. " + signed_points(difference.mean + half),
               points(std::sqrt(difference.seed_variance)),
               images ? points(std::sqrt(difference.image_variance)) : "left out", p_text(pair.p),
               p_text(pair.p_equivalent), pair.verdict});
  }
  return table.text();
}

std::string notes(const Comparison& comparison) {
  std::string text =
      "Accuracies in per cent, differences in points. Intervals: Student's over seeds, Welch's for differences;\n"
      "\"by seeds\" and \"by images\" are the two parts of the difference's standard error.\n";
  if (!comparison.has_images) {
    text +=
        "The images' part is left out where a run kept no predictions (then the interval is for this very test set) "
        "or\n"
        "the runs saw different test images (then it is in the seeds' part).\n";
  }
  text += "A tie: within " + points(comparison.options.margin) + " points either way (two one-sided tests, 5%).\n";
  if (comparison.pairs.size() > 1) {
    text += "p and verdicts are corrected for " + std::to_string(comparison.pairs.size()) +
            " pairs (Holm); intervals are not.\n";
  }
  return text;
}

}  // namespace

std::string comparison_text(const Comparison& comparison) {
  std::string text = arms_text(comparison) + "\n";
  if (!comparison.pairs.empty()) text += pairs_text(comparison) + "\n";
  return text + notes(comparison);
}

std::string comparison_csv(const Comparison& comparison) {
  Table table({"kind", "a", "b", "runs", "mean", "low", "high", "deviation", "p", "p_equivalent", "verdict", "work",
               "seconds"});
  for (const Arm& arm : comparison.arms) {
    for (const FinishedRun& run : arm.runs) {
      table.add({"run", arm.name, run.path, "1", exact(run.test_accuracy), "", "", "", "", "", "", exact(run.work),
                 exact(run.seconds)});
    }
    const Sample sample = sample_of(arm.accuracies());
    const double half = half_width(sample);
    const auto known = [&](double value) { return sample.count > 1 ? exact(value) : ""; };
    table.add({"arm", arm.name, "", std::to_string(sample.count), exact(sample.mean), known(sample.mean - half),
               known(sample.mean + half), known(sample.deviation), "", "", "", exact(mean_of(arm, &FinishedRun::work)),
               exact(mean_of(arm, &FinishedRun::seconds))});
  }
  for (const Pair& pair : comparison.pairs) {
    const std::string &a = comparison.arms[pair.a].name, &b = comparison.arms[pair.b].name;
    if (!pair.difference) {
      table.add({"difference", a, b, "", "", "", "", "", "", "", pair.verdict, "", ""});
      continue;
    }
    const double mean = pair.difference->mean, half = pair.difference->half_width();
    table.add({"difference", a, b, "", exact(mean), exact(mean - half), exact(mean + half),
               exact(pair.difference->standard_error()), exact(pair.p), exact(pair.p_equivalent), pair.verdict, "",
               ""});
  }
  return table.csv();
}

namespace {

/// Arms of equal work would hide each other: each stands a few per cent beside the one before.
double dodge(double work, const std::vector<double>& drawn) {
  const auto close = [&](double other) { return std::abs(std::log(work / other)) < 0.03; };
  return std::pow(1.03, static_cast<double>(std::count_if(drawn.begin(), drawn.end(), close)));
}

}  // namespace

std::string comparison_picture(const Comparison& comparison, const std::string& out) {
  std::ostringstream data, plot;
  data.precision(9);
  int number = 0;
  std::vector<double> drawn;  // the works of the arms before
  for (const Arm& arm : comparison.arms) {
    const auto work = mean_of(arm, &FinishedRun::work);
    if (!work) continue;
    const double aside = dodge(*work, drawn);
    drawn.push_back(*work);
    const Sample sample = sample_of(arm.accuracies());
    const double half = sample.count > 1 ? 100.0 * half_width(sample) : 0.0;
    data << "$mean" << number << " << EOD\n" << aside * *work << ' ' << 100.0 * sample.mean << ' ' << half << "\nEOD\n";
    data << "$runs" << number << " << EOD\n";
    for (const FinishedRun& run : arm.runs) {
      if (run.work) data << aside * *run.work << ' ' << 100.0 * *run.test_accuracy << '\n';
    }
    data << "EOD\n";
    const int shape = 4 + number;
    const std::string colour = gnuplot::quoted(gnuplot::kColours[number % std::size(gnuplot::kColours)]);
    plot << (number > 0 ? ", \\\n  " : "plot ") << "$mean" << number << " with yerrorbars pt " << shape
         << " ps 1.2 lw 2 lc rgb " << colour << " title " << gnuplot::quoted(arm.name) << ", $runs" << number
         << " with points pt 7 ps 0.4 lc rgb " << colour << " notitle";
    ++number;
  }
  require(number > 0, "[--picture] none of the runs says how much work it was");
  std::ostringstream script;
  script.precision(9);
  script << "set terminal svg noenhanced size 900,560 font 'sans,14' background '#ffffff'\nset output "
         << gnuplot::quoted(out) << "\nset title 'Test accuracy over the work of training and searching; bars: 95% "
         << "intervals over seeds' font ',12'\nset logscale x\nset format x '%.1te%T'\n"
         << "set xlabel 'multiply-accumulates (arms of equal work stand beside each other)'\nset ylabel 'test "
            "accuracy, %'\nset offsets graph 0.1, graph 0.1, "
         << "graph 0.1, graph 0.1\nset grid lc rgb '#c0c0c0'\nset border 3\nset tics nomirror\n"
         << "set key outside right top Left reverse samplen 2 font ',12'\n"
         << data.str() << plot.str() << '\n';
  return script.str();
}

}  // namespace stagewise
