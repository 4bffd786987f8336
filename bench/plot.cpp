// Draws the roofline (Williams, Waterman, Patterson 2009) of a bench: how fast each row ran, over how many FLOPs it
// does for a byte it moves, under what the machine's arithmetic and its memory allow. gnuplot draws. From Google
// Benchmark's JSON: the rows' counters `GFLOP/s` and `intensity` (or `GB/s`), and the roofs that the same run measured,
// in its context: peak_gflops_all, bandwidth_gbs_all and, if there, peak_gflops_one, bandwidth_gbs_one.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "bench/mann_whitney.h"
#include "search/report/gnuplot.h"
#include "tensor/error.h"

namespace stagewise {
namespace {

using gnuplot::kColours;
using gnuplot::quoted;
using nlohmann::json;

struct Point {
  double intensity = 0.0, gflops = 0.0;  // FLOP/byte, GFLOP/s
};

struct Roof {
  std::string name;
  double gflops = 0.0, bandwidth = 0.0;  // GFLOP/s, GB/s
  double ridge() const { return gflops / bandwidth; }
};

struct Plot {
  std::map<std::string, std::vector<Point>> families;
  std::vector<Roof> roofs;
  std::string caption;
  double left = 0.0, right = 0.0, bottom = 0.0, top = 0.0;  // of the axes
};

std::optional<double> context_number(const json& context, const std::string& key) {
  if (!context.contains(key)) return {};
  const std::string text = context.at(key).get<std::string>();
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  require(end != text.c_str() && *end == '\0' && std::isfinite(value) && value > 0.0, "expected a positive number for ",
          key, " in the context, got `", text, "`");
  return value;
}

std::optional<Roof> roof_in(const json& context, const std::string& suffix, const std::string& name) {
  const auto gflops = context_number(context, "peak_gflops_" + suffix);
  const auto bandwidth = context_number(context, "bandwidth_gbs_" + suffix);
  if (!gflops || !bandwidth) return {};
  return Roof{name, *gflops, *bandwidth};
}

std::optional<Point> point_of(const json& row) {
  const double gflops = row.value("GFLOP/s", 0.0), bandwidth = row.value("GB/s", 0.0);
  const double intensity = row.value("intensity", bandwidth > 0.0 ? gflops / bandwidth : 0.0);
  if (!(gflops > 0.0 && intensity > 0.0)) return {};
  return Point{intensity, gflops};
}

// One point a row: the median of its repetitions, or the median that the bench itself wrote.
std::map<std::string, Point> points_of(const json& rows) {
  std::map<std::string, std::vector<double>> gflops;
  std::map<std::string, Point> points;
  for (const bool repetitions : {true, false}) {
    for (const json& row : rows) {
      const bool single = row.at("run_type") == "iteration";
      if (single != repetitions || (!single && row.at("aggregate_name") != "median")) continue;
      const std::optional<Point> point = point_of(row);
      if (!point) continue;
      const std::string name = row.at("run_name");
      gflops[name].push_back(point->gflops);
      points[name] = {point->intensity, median_of(gflops[name])};
    }
    if (!points.empty()) break;
  }
  return points;
}

void set_axes(Plot& plot) {
  plot.left = plot.bottom = 1e300;
  const auto include = [&plot](const Point& point) {
    plot.left = std::min(plot.left, point.intensity);
    plot.right = std::max(plot.right, point.intensity);
    plot.bottom = std::min(plot.bottom, point.gflops);
    plot.top = std::max(plot.top, point.gflops);
  };
  for (const auto& [family, points] : plot.families) std::for_each(points.begin(), points.end(), include);
  for (const Roof& roof : plot.roofs) include({roof.ridge(), roof.gflops});
  plot.left /= 2.0;
  plot.right *= 4.0;
  plot.bottom /= 2.0;
  plot.top *= 2.0;
}

Plot parse(const json& file) {
  const json& context = file.at("context");
  Plot plot;
  const std::optional<Roof> all = roof_in(context, "all", "all cores"), one = roof_in(context, "one", "one core");
  require(all.has_value(), "expected peak_gflops_all and bandwidth_gbs_all in the context, got none");
  plot.roofs.push_back(*all);
  if (one) plot.roofs.push_back(*one);
  for (const auto& [name, point] : points_of(file.at("benchmarks"))) {
    plot.families[name.substr(0, name.find('/'))].push_back(point);
  }
  require(!plot.families.empty(), "expected rows with the counters GFLOP/s and intensity (or GB/s), got none");
  for (const char* key : {"machine", "commit", "date"}) {
    if (!context.contains(key)) continue;
    plot.caption += (plot.caption.empty() ? "" : ", ") + context.at(key).get<std::string>();
  }
  set_axes(plot);
  return plot;
}

Plot read(const std::string& path) {
  std::ifstream file(path);
  require(file.good(), "can't open `", path, "`");
  try {
    return parse(json::parse(file));
  } catch (const json::exception& error) {
    fail("`", path, "` is not Google Benchmark's JSON: ", error.what());
  } catch (const Error& error) {
    fail("`", path, "`: ", error.what());
  }
}

// The picture in pixels, and the plot's edges as parts of it: what is right of the plot belongs to the key.
constexpr int kWidth = 1100, kHeight = 620;
constexpr double kLeftEdge = 0.07, kRightEdge = 0.70, kBottomEdge = 0.11, kTopEdge = 0.91;

void write_frame(std::ostream& script, const Plot& plot, const std::string& out) {
  script << "set terminal svg noenhanced size " << kWidth << ',' << kHeight << " font 'sans,14' background '#ffffff'\n"
         << "set output " << quoted(out) << "\nset title " << quoted(plot.caption) << " font ',12'\n"
         << "set lmargin at screen " << kLeftEdge << "\nset rmargin at screen " << kRightEdge
         << "\nset bmargin at screen " << kBottomEdge << "\nset tmargin at screen " << kTopEdge << '\n'
         << "set logscale xy\nset xlabel 'FLOP/byte'\nset ylabel 'GFLOP/s'\n"
         << "set xrange [" << plot.left << ':' << plot.right << "]\nset yrange [" << plot.bottom << ':' << plot.top
         << "]\nset grid xtics ytics lc rgb '#c0c0c0'\nset samples 2000\nset key at screen " << kRightEdge + 0.01 << ','
         << kTopEdge << " left top Left reverse samplen 2 font ',12'\n"
         << "set border 3\nset tics nomirror\n";
}

std::string title_of(const Roof& roof) {
  std::ostringstream text;
  text.precision(3);
  text << roof.name << ": " << roof.gflops << " GFLOP/s, " << roof.bandwidth << " GB/s";
  return quoted(text.str());
}

std::string script_of(const Plot& plot, const std::string& out) {
  std::ostringstream script;
  write_frame(script, plot, out);
  std::size_t number = 0;
  for (const auto& [family, points] : plot.families) {
    script << "$family" << number++ << " << EOD\n";
    for (const Point& point : points) script << point.intensity << ' ' << point.gflops << '\n';
    script << "EOD\n";
  }
  const char* separator = "plot ";
  const char* style = " lw 2 lc rgb '#404040'";
  for (const Roof& roof : plot.roofs) {
    script << separator << "(x < " << roof.ridge() << " ? x * " << roof.bandwidth << " : " << roof.gflops
           << ") with lines" << style << " title " << title_of(roof);
    separator = ", \\\n  ";
    style = " lw 2 dt 2 lc rgb '#808080'";
  }
  number = 0;
  for (const auto& [family, points] : plot.families) {
    script << separator << "$family" << number << " with points pt " << 4 + number << " ps 0.9 lw 1.5 lc rgb "
           << quoted(kColours[number % std::size(kColours)]) << " title " << quoted(family);
    ++number;
  }
  script << "\n";
  return script.str();
}

}  // namespace
}  // namespace stagewise

int main(int argc, char** argv) {
  std::string results, out;
  CLI::App program("Draws the roofline of a bench's results.", "plot");
  program.add_option("RESULTS", results, "Google Benchmark's JSON")->required();
  program.add_option("OUT", out, "The picture to write, an SVG")->required();
  try {
    program.parse(argc, argv);
    stagewise::gnuplot::draw(stagewise::script_of(stagewise::read(results), out), out);
    return 0;
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : 2;
  } catch (const stagewise::Error& error) {
    std::cerr << "plot: " << error.what() << '\n';
    return 2;
  }
}
