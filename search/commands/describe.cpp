#include <algorithm>
#include <iostream>

#include "layers/cost.h"
#include "layers/presets.h"
#include "search/commands/commands.h"
#include "search/commands/numbers.h"
#include "search/commands/options.h"
#include "search/network_drawing.h"
#include "search/run/device.h"
#include "search/run/terminal.h"
#include "search/run/text.h"
#include "search/training/model_file.h"

namespace stagewise {

namespace {

struct DescribeOptions {
  std::string model, blocks, variant, network;
  StyleOptions style;
  std::int64_t classes = 0, image_size = 0;  // 0: the network's own, or 10 and 32
  std::int64_t batch_size = 128;
  bool plan = false, graph = false;
  DeviceOptions device;
};

Architecture described(const DescribeOptions& options) {
  const auto variant = options.variant.empty() ? std::nullopt : std::optional(variant_from(options.variant));
  if (!options.model.empty()) return load_architecture(options.model, variant, complain);
  require(!options.blocks.empty() || !options.network.empty(),
          "[describe] expected a run's folder, a .safetensors file, --blocks or --network");
  Architecture architecture;
  if (options.network.empty()) {
    const auto depths = parse_depths(options.blocks, "--blocks");
    architecture =
        Architecture::of_depths(depths, variant.value_or(Variant::standard), options.style.style(depths.size()));
  } else {
    architecture = preset(options.network);
  }
  if (options.classes > 0) architecture.classes = options.classes;
  if (options.image_size > 0) architecture.height = architecture.width = options.image_size;
  architecture.check();
  return architecture;
}

void print_row(const std::string& name, const std::string& blocks, const std::string& width, const std::string& map,
               const Cost& cost) {
  std::cout << left(name, 12) << right(blocks, 7) << right(width, 9) << right(map, 12)
            << right(with_thousands(cost.trainable), 13) << right(with_thousands(cost.running_statistics), 13)
            << right(in_millions(cost.macs), 11) << '\n';
}

std::string sizes(const Shape& output) {
  std::string text;
  for (int i = 1; i < output.rank(); ++i) text += (i > 1 ? "x" : "") + std::to_string(output[i]);
  return text;
}

/// The nodes, each of which works on what the one before it gives.
void print_graph(const Architecture& architecture) {
  const Graph graph = graph_of(architecture);
  std::size_t widest = 0;
  for (const Node& node : graph.nodes) widest = std::max(widest, node.name.size());
  const auto column = static_cast<int>(widest) + 2;
  std::cout << '\n'
            << left("node", column) << right("output", 10) << right("trainable", 12) << right("MACs", 12)
            << "  computes, of the node before it\n"
            << left("images", column) << right(sizes(graph.input), 10) << '\n';
  for (const Node& node : graph.nodes) {
    const Cost cost = cost_of(node);
    std::cout << left(node.name, column) << right(sizes(node.output), 10) << right(with_thousands(cost.trainable), 12)
              << right(with_thousands(cost.macs), 12) << "  " << node_text(node) << '\n';
  }
}

/// How the device goes about each convolution, and why.
void print_plan(const Architecture& architecture, std::int64_t batch_size, const DeviceOptions& options) {
  const Plans plans = find_plans(options);
  const auto backend = open_backend(options, plans);
  const DType maps = feature_map_type(options, *backend);
  std::cout << "\nConvolutions, on " << backend->name() << " (" << backend->description()
            << (plans.file ? " in " + plans.path : "") << "), a batch of " << batch_size << ", feature maps in "
            << options.precision << ":\n";
  for (const auto& [convolution, count] : distinct_convolutions(architecture)) {
    const Shape &x = convolution.input, &filter = convolution.filter;
    const Shape batch{batch_size, x[1], x[2], x[3]};
    std::cout << concat("\n", count, " of ", x[1], "x", x[2], "x", x[3], " to ", filter[0], " channels, ", filter[1],
                        "x", filter[2], ", stride ", convolution.options.stride, "\n");
    for (const ConvolutionPlanText& plan : backend->convolution_plan(batch, filter, convolution.options, maps)) {
      std::cout << "  " << left(plan.direction, 12) << left(plan.algorithm, 10) << plan.reason << '\n';
    }
  }
}

void run_describe(const DescribeOptions& options) {
  const Architecture architecture = described(options);
  const NetworkCost cost = cost_of(architecture);
  std::cout << "ResNet " << join(architecture.depths()) << ", " << kind_text(architecture) << ", images "
            << architecture.height << 'x' << architecture.width << 'x' << architecture.channels << ", "
            << counted(architecture.classes, "class", "classes") << "\n\n"
            << left("", 12) << right("blocks", 7) << right("channels", 9) << right("map", 12) << right("trainable", 13)
            << right("statistics", 13) << right("MACs", 11) << '\n';
  print_row("stem", "", std::to_string(architecture.stem_channels()), map_size(architecture, 0), cost.stem);
  for (std::size_t stage = 0; stage < cost.stages.size(); ++stage) {
    print_row("stage " + std::to_string(stage + 1), std::to_string(architecture.stages[stage].blocks.size()),
              std::to_string(architecture.stage_channels(stage)), map_size(architecture, stage), cost.stages[stage]);
  }
  print_row("classifier", "", std::to_string(architecture.classes), "1x1", cost.classifier);
  const Cost total = cost.total();
  std::cout << '\n'
            << with_thousands(total.parameters()) << " parameters (" << with_thousands(total.trainable)
            << " trainable), " << in_millions(total.macs) << " MACs\n";
  if (options.graph) print_graph(architecture);
  if (options.plan) print_plan(architecture, options.batch_size, options.device);
}

}  // namespace

Command add_describe(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("describe", "Show a network's stages, parameters and multiply-accumulates");
  const auto options = std::make_shared<DescribeOptions>();
  CLI::Option* model = command->add_option("model", options->model, "A run's folder or a .safetensors file");
  CLI::Option* blocks =
      command->add_option("--blocks", options->blocks, "Or a network by its blocks a stage, e.g. 6,8,6")
          ->excludes(model);
  add_style_options(*command, options->style, options->network, "Network");
  command->get_option("--network")->excludes(model)->excludes(blocks);
  for (const char* const option : {"--block-kind", "--stem", "--shortcut", "--widths"}) {
    command->get_option(option)->needs(blocks);
  }
  command->add_option("--variant", options->variant, "standard (default) or paper")->excludes("--network");
  command->add_option("--classes", options->classes, "With --blocks or --network")
      ->transform(between<std::int64_t>(1, 1000000))
      ->excludes(model);
  command->add_option("--image-size", options->image_size, "With --blocks or --network: pixels a side")
      ->transform(between<std::int64_t>(1, 4096))
      ->excludes(model);
  command->add_flag("--graph", options->graph, "Also every node: its name, what it computes, what it costs");
  CLI::Option* plan =
      command->add_flag("--plan", options->plan, "Also how the device computes each convolution, and why");
  command->add_option("--device", options->device.device, "With --plan: auto, cpu, reference or cuda")->needs(plan);
  command->add_option("--precision", options->device.precision, "With --plan: fp32 or bf16")->needs(plan);
  command->add_flag("--strict-convolution", options->device.strict_convolution, "With --plan")->needs(plan);
  command->add_option("--tf32", options->device.tf32, "With --plan: on or off")->needs(plan);
  command->add_option("--plans", options->device.plans, "With --plan: a file of `stagewise tune`'s, auto or none")
      ->needs(plan);
  command->add_option("--batch-size", options->batch_size, "With --plan: images a step")
      ->transform(between<std::int64_t>(1, 65536))
      ->needs(plan);
  return {.app = command, .run = [options] { run_describe(*options); }};
}

}  // namespace stagewise
