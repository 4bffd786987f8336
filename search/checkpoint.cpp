#include "search/checkpoint.h"

#include "search/training/network_tensors.h"

namespace stagewise {

namespace {

constexpr const char* kProbe = "probe.";

void store(const Learner& learner, const std::string& prefix, Safetensors& file) {
  file.metadata[prefix + "architecture"] = learner.network->architecture().to_json();
  store_network(*learner.network, prefix, file);
  store_velocities(learner.optimiser, prefix, file);
}

const std::string& metadata(const Safetensors& file, const std::string& key, const std::string& path) {
  const auto found = file.metadata.find(key);
  require(found != file.metadata.end(), "`", path, "` is no checkpoint: its metadata lacks `", key, "`");
  return found->second;
}

Learner load(const Safetensors& file, const std::string& prefix, const std::string& path, Backend& backend,
             std::uint64_t seed, const SgdOptions& sgd) {
  const Architecture architecture = Architecture::from_json(metadata(file, prefix + "architecture", path));
  Learner learner;
  learner.network = std::make_unique<ResNet>(backend, architecture, seed);
  learner.optimiser = Sgd(sgd);
  load_network(file, prefix, path, *learner.network);
  load_velocities(file, prefix, backend, learner.optimiser);
  return learner;
}

}  // namespace

void save_checkpoint(const std::string& path, const SearchState& state, const Learner& main, const Learner& probe) {
  Safetensors file;
  store(main, "", file);
  if (probe.network) store(probe, kProbe, file);
  file.metadata["state"] = state.to_json();
  write_safetensors(path, file);
}

CheckpointFile read_checkpoint(const std::string& path) {
  CheckpointFile file{.path = path, .state = {}, .contents = read_safetensors(path)};
  file.state = SearchState::from_json(metadata(file.contents, "state", path));
  return file;
}

Checkpoint load_checkpoint(const CheckpointFile& file, Backend& backend, const SgdOptions& sgd) {
  const SearchState& state = file.state;
  Checkpoint checkpoint{.state = state, .main = {}, .probe = {}};
  checkpoint.main = load(file.contents, "", file.path, backend, state.network_seed, sgd);
  if (state.phase == Phase::probe) {
    checkpoint.probe = load(file.contents, kProbe, file.path, backend, state.probe_seed, sgd);
  }
  return checkpoint;
}

}  // namespace stagewise
