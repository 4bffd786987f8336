#include "search/results.h"

#include <cmath>

#include "layers/cost.h"
#include "search/network_drawing.h"
#include "search/run/text.h"
#include "search/training/model_file.h"
#include "search/work.h"
#include "tensor/atomic_file.h"

namespace stagewise {

std::string right_of(const PassResult& result) {
  return with_thousands(result.right) + " of " + with_thousands(result.images) + " right";
}

std::string summarise(const SearchState& state, const Network& network, const RunData& data,
                      const SearchOptions& options, const std::optional<PassResult>& test) {
  const Architecture architecture = network.architecture();
  const Cost cost = cost_of(architecture).total();
  const auto row = [](const std::string& name, const std::string& value) { return left(name, 22) + value + "\n"; };
  const std::int64_t held_out = std::ssize(data.validation);
  const auto validation = [&] {
    if (held_out == 0) return std::string("none held out");
    if (state.held_out_joined) return counted(held_out, "held-out image") + " joined the training at the end";
    if (!state.validated) return std::string("not measured");
    return percent(state.validation_accuracy) + " of " + counted(held_out, "held-out image");
  };
  std::string text =
      row("network", join(architecture.depths()) +
                         (architecture.depths() != options.start ? ", grown from " + join(options.start) : "") + " (" +
                         kind_text(architecture) + ")");
  text += draw_network(architecture) + "\n";
  text += row("parameters", with_thousands(cost.parameters()) + " (" + with_thousands(cost.trainable) + " trainable)");
  text += row("MACs", in_millions(cost.macs));
  text += row("data", data.description);
  text += row("training accuracy", percent(state.train_accuracy) + " on augmented images, during the last epoch");
  text += row("validation accuracy", validation());
  text += row("test accuracy", test             ? percent(test->accuracy()) + ", " + right_of(*test)
                               : data.load_test ? "not measured yet"
                                                : "the data has no test set");
  text += row("networks trained",
              std::to_string(state.models) +
                  (state.kept_earlier ? "; an earlier one than the last was better, and is this one" : ""));
  text += row("work", work_text(static_cast<double>(state.work)) + ", " +
                          percent(static_cast<double>(state.looking) / static_cast<double>(state.work)) +
                          " of it measuring");
  text += row("images seen", with_thousands(state.images_seen) + " in " + counted(state.passes, "epoch"));
  text += row("time", duration(state.seconds));
  if (state.joules_seconds > 0.0) {
    text +=
        row("energy", concat(with_thousands(std::llround(state.joules / 1e3)), " kJ in ",
                             duration(state.joules_seconds), ", by processors and card, whatever else ran included"));
  }
  text += row("ended because", state.stop_reason);
  return text;
}

void write_results(const RunDirectory& run, const Network& network, const RunData& data, const std::string& summary) {
  save_model(run.model(), network, data.normalisation, data.classes, data.source);
  write_file_atomically(run.architecture(), network.architecture().to_json() + "\n");
  write_file_atomically(run.summary(), summary);
}

std::string how_to_use(const std::string& path, bool has_test_set) {
  const auto row = [&](const std::string& command, const std::string& what) {
    return "  stagewise " + left(command, static_cast<int>(path.size()) + 28) + "  " + what + "\n";
  };
  return "What happened, and how good it is, for any browser: " + path + "/report.html\nThe network is in " + path +
         "/model.safetensors. What you can do with it:\n" +
         row("predict " + path + " IMAGE...", "what is in a picture") +
         row("evaluate " + path + (has_test_set ? "" : " --data DATA"), "count its right answers on a test set") +
         row("retrain " + path, "train what was found from scratch, or on (--weights)") +
         row("describe " + path, "its stages, parameters and work") +
         row("export " + path + " --to onnx --out FILE", "a file for other programs; or --to pytorch");
}

}  // namespace stagewise
