#include <algorithm>
#include <filesystem>
#include <iostream>

#include "cuda/cuda_backend.h"
#include "layers/network.h"
#include "layers/presets.h"
#include "search/commands/commands.h"
#include "search/commands/numbers.h"
#include "search/commands/options.h"
#include "search/run/directory.h"
#include "search/run/interrupt.h"
#include "search/run/progress.h"
#include "search/run/terminal.h"
#include "search/run/text.h"
#include "tensor/atomic_file.h"

namespace stagewise {

namespace {

struct TuneOptions {
  Settings settings;
  std::int64_t image_size = 0, batch_size = 128;
};

Architecture architecture_of(const TuneOptions& options) {
  const Settings& settings = options.settings;
  const auto depths = parse_depths(settings.blocks, "--blocks");
  Architecture architecture = settings.network.empty() ? Architecture::of_depths(depths, variant_from(settings.variant),
                                                                                 settings.style.style(depths.size()))
                                                       : preset(settings.network);
  if (options.image_size > 0) architecture.height = architecture.width = options.image_size;
  architecture.check();
  return architecture;
}

/// A step of training on images of zeros: which convolutions it asks for doesn't depend on what they show.
void train_a_step(Backend& backend, const TuneOptions& options, const Architecture& architecture) {
  const Shape images{options.batch_size, architecture.height, architecture.width, architecture.channels};
  const Tensor x = Tensor::zeros(backend, images, feature_map_type(options.settings.device, backend));
  const Tensor labels = Tensor::zeros(backend, {options.batch_size}, DType::int32);
  Network network(backend, architecture, /*seed=*/0);
  Tape tape;
  const Context context{.tape = &tape, .training = true};
  tape.backward(softmax_cross_entropy(context, network.forward(context, Variable(x)), labels));
}

/// What is there already for the same device, so that several networks, batches and precisions go into one file.
PlanFile begun(const std::string& path, const PlanDevice& device) {
  if (RunDirectory::holds_file(path)) {
    PlanFile found = PlanFile::from_json(read_file(path), path);
    if (found.device == device) return found;
    complain(concat("`", path, "` was tuned on ", found.device.text(), ": it is replaced"));
  }
  return {.device = device, .plans = {}};
}

void print_row(const TuningProgress& progress) {
  const TunedPlan& tuned = *progress.tuned;
  const bool alone = progress.by_order < 0.0;
  std::cout << right(alone ? "-" : fixed(progress.by_order, 1), 10) << right(fixed(tuned.microseconds, 1), 10) << "  "
            << progress.name << "\n"
            << left("", 22) << tuned.description << '\n';
}

void run_tune(TuneOptions& options) {
  Settings& settings = options.settings;
  const Architecture architecture = architecture_of(options);
  const PlanDevice device = plan_device();  // or says why there is none
  const bool own = settings.device.plans == "auto";
  const std::string path = own ? own_plans(device) : settings.device.plans;
  require(!path.empty() && path != "none", "[tune] expected a file to write: name one with --plans FILE");
  PlanFile plans = begun(path, device);
  settings.device.device = "cuda";
  const auto backend = open_backend(settings.device, {});
  catch_interrupts();
  Progress progress(settings.quiet);
  progress.line("Device: " + backend->description());
  std::size_t faster = 0;
  const auto began = std::chrono::steady_clock::now();
  const PlanFile found = tune_convolutions(
      *backend, [&] { train_a_step(*backend, options, architecture); },
      [&](const TuningProgress& now) {
        stop_if_interrupted();
        if (now.tuned == nullptr) {
          std::cout << right("by order", 10) << right("tuned", 10) << "  microseconds a convolution, batch "
                    << options.batch_size << ", " << settings.device.precision << "\n";
          return;
        }
        if (now.by_order > now.tuned->microseconds) faster += 1;
        print_row(now);
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
        const auto done = static_cast<double>(now.done), left = static_cast<double>(now.count - now.done);
        progress.status(
            concat("Tuned ", now.done, " of ", now.count, ", about ", duration(seconds / done * left), " left"));
      });
  const std::size_t tuned = found.plans.size();
  for (const auto& [name, plan] : found.plans) plans.plans[name] = plan;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  write_file_atomically(path, plans.to_json());
  std::cout << '\n'
            << faster << " of " << tuned << " are faster than by cuDNN's own order. Plans: " << path << " ("
            << counted(std::ssize(plans.plans), "convolution") << ")\n"
            << (own ? "Runs on this device take them from now on; --plans none goes without.\n"
                    : "Runs take them with --plans " + path + "\n");
}

}  // namespace

Command add_tune(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "tune",
      "Time on the GPU how each convolution of a network's training is done best, and keep that for the runs to come. "
      "Depths don't matter, from two blocks a stage on; sizes of batches and images, widths and precision do: tune "
      "once "
      "for each that you train with");
  const auto options = std::make_shared<TuneOptions>();
  Settings& settings = options->settings;
  add_network_options(*command, settings, "--blocks");
  command->add_option("--batch-size", options->batch_size, "Images a step")
      ->transform(between<std::int64_t>(1, 65536))
      ->group("Data");
  command->add_option("--image-size", options->image_size, "Pixels a side; 0: the network's own, or 32")
      ->transform(between<std::int64_t>(0, 512))
      ->group("Data");
  const std::string group = "Device";
  command->add_option("--precision", settings.device.precision, "fp32 or bf16")->group(group);
  command->add_flag("--strict-convolution", settings.device.strict_convolution, "No Winograd")->group(group);
  command->add_option("--tf32", settings.device.tf32, "on or off")->group(group);
  command
      ->add_option("--plans", settings.device.plans,
                   "The file to write, or to add to; auto: your own for this device, which every run looks at")
      ->group(group);
  command->add_flag("--quiet", settings.quiet, "Print the result only")->group(group);
  return {.app = command, .run = [options] { run_tune(*options); }};
}

}  // namespace stagewise
