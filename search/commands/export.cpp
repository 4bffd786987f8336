#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cpu/cpu_backend.h"
#include "search/commands/commands.h"
#include "search/commands/numbers.h"
#include "search/commands/options.h"
#include "search/export/c.h"
#include "search/export/onnx.h"
#include "search/export/pytorch.h"
#include "search/report/finished_run.h"
#include "search/run/progress.h"
#include "search/run/terminal.h"
#include "search/run/text.h"
#include "search/run/version.h"
#include "search/training/model_file.h"
#include "tensor/atomic_file.h"

namespace stagewise {

namespace {

namespace fs = std::filesystem;
using About = std::map<std::string, std::string>;

struct ExportOptions {
  Settings settings;
  std::string model, to, out, name;
  bool keep_batch_norms = false;
};

/// Where the network comes from and what is known of it.
About about(const Model& model, const std::string& path) {
  const Architecture architecture = model.network->architecture();
  About lines{{"network", join(architecture.depths()) + " (" + kind_text(architecture) + ")"},
              {"exported_by", program_version()}};
  if (!model.data.empty()) lines["data"] = model.data;
  const auto run = fs::is_directory(path) ? read_run(path) : std::nullopt;
  if (!run) return lines;
  lines["run"] = fs::canonical(path).filename().string();
  if (!run->data.empty()) lines["data"] = run->data;
  if (!run->program.empty()) lines["trained_by"] = run->program;
  if (run->test_accuracy) lines["test_accuracy"] = spelled(*run->test_accuracy);
  if (run->validation_accuracy) lines["validation_accuracy"] = spelled(*run->validation_accuracy);
  return lines;
}

/// The normalisation of the data's training images, for the paper's files, which hold none.
Normalisation normalisation_of_data(const CLI::App& command, ExportOptions& options, const Architecture& architecture) {
  require(command.get_option("--data")->count() > 0, "[export] `", options.model,
          "` doesn't say how its images are normalised: name what it was trained on with --data");
  DataOptions data = options.settings.data_options();
  data.image_size = architecture.height;
  Progress progress(options.settings.quiet);
  return normalisation_of(architecture.variant, open_announced(data, progress.listener()).train);
}

void write_onnx(const ExportOptions& options, const Model& model, About lines) {
  const Architecture architecture = model.network->architecture();
  lines["classes"] = nlohmann::json(model.classes).dump();
  lines["architecture"] = architecture.to_json();
  lines["batch_norms"] = options.keep_batch_norms ? "nodes of their own" : "folded into the convolutions";
  write_file_atomically(options.out, onnx_file(*model.network, *model.normalisation,
                                               {.keep_batch_norms = options.keep_batch_norms, .about = lines}));
  std::cout << "Written: " << options.out << "\n  images  float32 [batch," << architecture.channels << ','
            << architecture.height << ',' << architecture.width << "], RGB from 0 to 255\n  logits  float32 [batch,"
            << architecture.classes << "]\n";
}

void write_pytorch(const ExportOptions& options, const Model& model, const About& lines) {
  const std::string source = options.out + "/network.py", weights = options.out + "/model.safetensors";
  for (const std::string& file : {source, weights}) {
    require(!fs::exists(file), "[--out] `", file, "` is there already");
  }
  std::error_code error;
  fs::create_directories(options.out, error);
  require(!error, "[--out] can't make the folder `", options.out, "`: ", error.message());
  const Architecture architecture = model.network->architecture();
  Safetensors file =
      as_pytorch(model_tensors(*model.network, *model.normalisation, model.classes, model.data), architecture);
  for (const auto& [key, value] : lines) file.metadata.emplace(key, value);
  write_safetensors(weights, file);
  write_file_atomically(source, pytorch_source(architecture, model.classes, lines));
  std::cout << "Written: " << source << "\n         " << weights << '\n';
}

void write_c(const ExportOptions& options, const Model& model, const About& lines) {
  const std::string name = options.name.empty() ? c_name(options.out) : options.name;
  const CHeader header = c_header(
      *model.network, *model.normalisation,
      {.name = name, .file = fs::path(options.out).filename().string(), .classes = model.classes, .about = lines});
  write_file_atomically(options.out, header.text);
  std::cout << "Written: " << options.out << "\n  " << name
            << "_predict(pixels, logits, scratch) and what else its first lines say\n  " << header.constants
            << " bytes of constants, " << header.scratch << " bytes of scratch\n";
}

/// Before anything is read.
void check_target(const ExportOptions& options) {
  require(options.to == "c" || options.name.empty(), "[--name] is for --to c: nothing in `", options.to,
          "` is called by it");
  require(options.to == "onnx" || !options.keep_batch_norms, "[--keep-batch-norms] is for --to onnx");
  require(options.to != "c" || !fs::exists(options.out), "[--out] `", options.out, "` is there already");
}

void run_export(const CLI::App& command, ExportOptions& options) {
  check_target(options);
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  Model model = load_model(*backend, options.model, {}, complain);
  if (!model.normalisation) {
    model.normalisation = normalisation_of_data(command, options, model.network->architecture());
  }
  const About lines = about(model, options.model);
  if (options.to == "onnx") {
    write_onnx(options, model, lines);
  } else if (options.to == "c") {
    write_c(options, model, lines);
  } else {
    write_pytorch(options, model, lines);
  }
}

}  // namespace

Command add_export(CLI::App& program) {
  CLI::App* command = program.add_subcommand("export", "Write a network for other programs: ONNX, PyTorch or C");
  const auto options = std::make_shared<ExportOptions>();
  command->add_option("model", options->model, "A run's folder or a .safetensors file")->required();
  command
      ->add_option("--to", options->to,
                   "onnx: a file for any runtime; pytorch: network.py, which needs torch only, and its weights; c: one "
                   "header that needs nothing")
      ->required()
      ->check(CLI::IsMember({"onnx", "pytorch", "c"}));
  command->add_option("--out", options->out, "The ONNX file, the folder of PyTorch's two, or the header")->required();
  command->add_option("--name", options->name,
                      "With --to c, what its functions' names begin with; left out: the header's own name");
  command->add_flag("--keep-batch-norms", options->keep_batch_norms,
                    "In ONNX, batch norms as nodes of their own; else they are folded into the convolutions");
  add_data_options(*command, options->settings);
  return {.app = command, .run = [command, options] { run_export(*command, *options); }};
}

}  // namespace stagewise
