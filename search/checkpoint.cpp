#include "search/checkpoint.h"

#include <nlohmann/json.hpp>

#include "search/training/network_tensors.h"
#include "tensor/atomic_file.h"

namespace stagewise {

namespace {

constexpr const char *kBest = "best.", *kAverageDecay = "average_decay";

void store(const Network& network, const std::string& prefix, Safetensors& file) {
  file.metadata[prefix + "architecture"] = network.architecture().to_json();
  store_network(network, prefix, file);
}

const std::string& metadata(const Safetensors& file, const std::string& key, const std::string& path) {
  const auto found = file.metadata.find(key);
  require(found != file.metadata.end(), "`", path, "` is no checkpoint: its metadata lacks `", key, "`");
  return found->second;
}

Architecture stored_architecture(const CheckpointFile& file, const std::string& key) {
  const std::string& text = metadata(file.contents, key, file.path);
  try {
    return Architecture::from_json(text);
  } catch (const Error& error) {
    fail("`", file.path, "`: ", error.what());
  }
}

double average_decay_in(const CheckpointFile& file) {
  const std::string& text = file.contents.metadata.at(kAverageDecay);
  const auto decay = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  require(decay.is_number(), "`", file.path, "`: expected the metadata's `", kAverageDecay, "` to be a number, got `",
          text, "`");
  return decay.get<double>();
}

std::unique_ptr<Network> load(const CheckpointFile& file, const std::string& prefix, Backend& backend) {
  const Architecture architecture = stored_architecture(file, prefix + "architecture");
  require_size(file.contents, file.path, architecture);
  auto network = std::make_unique<Network>(backend, architecture, file.state.network_seed);
  load_network(file.contents, prefix, file.path, *network);
  return network;
}

}  // namespace

void save_checkpoint(const std::string& path, const SearchState& state, const Learner& learner, const Network* best) {
  Safetensors file;
  store(*learner.network, "", file);
  store_state(*learner.optimiser, file);
  if (learner.average) {
    file.metadata[kAverageDecay] = nlohmann::json(learner.average->decay()).dump();
    store_averages(*learner.average, file);
  }
  if (best != nullptr) store(*best, kBest, file);
  file.metadata["state"] = state.to_json();
  write_safetensors(path, file);
}

CheckpointFile read_checkpoint(const std::string& path) { return parse_checkpoint(read_file(path), path); }

CheckpointFile parse_checkpoint(std::string_view contents, const std::string& path) {
  CheckpointFile file{.path = path, .state = {}, .contents = parse_safetensors(contents, path)};
  file.state = SearchState::from_json(metadata(file.contents, "state", path));
  return file;
}

Checkpoint load_checkpoint(const CheckpointFile& file, Backend& backend, const OptimiserOptions& optimiser) {
  Checkpoint checkpoint{.state = file.state, .learner = {}, .best = nullptr};
  checkpoint.learner.network = load(file, "", backend);
  checkpoint.learner.optimiser = make_optimiser(optimiser);
  load_state(file.contents, backend, *checkpoint.learner.optimiser);
  if (file.contents.metadata.contains(kAverageDecay)) {
    checkpoint.learner.average.emplace(average_decay_in(file));
    load_averages(file.contents, backend, *checkpoint.learner.average);
  }
  if (file.state.best_validation >= 0.0) checkpoint.best = load(file, kBest, backend);
  return checkpoint;
}

}  // namespace stagewise
