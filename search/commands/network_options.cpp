// The options that say what a network is made of.
#include "layers/presets.h"
#include "search/commands/config_file.h"
#include "search/commands/options.h"
#include "search/run/text.h"

namespace stagewise {

NetworkStyle StyleOptions::style(std::size_t stages) const {
  NetworkStyle style{
      .block = block_kind_from(block), .stem = stem_kind_from(stem), .shortcut = shortcut_from(shortcut)};
  if (widths.empty()) return style;
  style.widths = parse_widths(widths, "--widths");
  require(style.widths.size() == stages || style.widths.size() == stages + 1,
          "[--widths] expected a width for each of ", stages, " stages, perhaps with the stem's in front, got ",
          widths);
  if (style.widths.size() == stages) return style;
  style.stem_width = style.widths.front();
  style.widths.erase(style.widths.begin());
  return style;
}

void add_style_options(CLI::App& command, StyleOptions& style, std::string& network, const std::string& group) {
  command
      .add_option(
          "--network", network,
          "One of the field's networks, in place of the options about blocks, stem and widths: " + preset_names())
      ->group(group);
  command
      .add_option("--block-kind", style.block,
                  "basic (two 3x3), bottleneck (1x1, 3x3, 1x1 to four times the width), pre-activation or "
                  "pre-activation-bottleneck")
      ->group(group);
  command.add_option("--stem", style.stem, "small (3x3), or imagenet (7x7, stride 2, and maxima of 3x3, stride 2)")
      ->group(group);
  command
      .add_option("--shortcut", style.shortcut,
                  "Where a block changes size or width: projection (1x1), or padding (option A: every second pixel, "
                  "channels of zeros)")
      ->group(group);
  command
      .add_option(
          "--widths", style.widths,
          "Channels of each stage (of a bottleneck: its inner ones), e.g. 160,320,640; one more in front is the "
          "stem's. Left out: 16,32,64, ...")
      ->group(group);
}

std::vector<std::pair<std::string, std::string>> network_options(const Architecture& architecture,
                                                                 const std::string& blocks) {
  NetworkStyle style = architecture.style();
  if (style.stem_width > 0) {
    style.widths.clear();
    for (const Architecture::StageBlocks& stage : architecture.stages) style.widths.push_back(stage.width);
    style.widths.insert(style.widths.begin(), style.stem_width);
  }
  return {{blocks, join(architecture.depths())},   {"--variant", name_of(architecture.variant)},
          {"--block-kind", name_of(style.block)},  {"--stem", name_of(style.stem)},
          {"--shortcut", name_of(style.shortcut)}, {"--widths", join(style.widths)}};
}

void take_network(CLI::App& command, const Architecture& architecture, const std::string& blocks,
                  const std::string& whose) {
  for (const auto& [option, value] : network_options(architecture, blocks)) {
    CLI::Option& given = *command.get_option(option);
    require(given.count() == 0 || given.as<std::string>() == value, whose, " a network with ", option, " ",
            value.empty() ? "left out" : value);
    if (given.count() > 0 || !value.empty()) set_option(command, option, value);
  }
}

}  // namespace stagewise
