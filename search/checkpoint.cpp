#include "search/checkpoint.h"

#include "search/network_tensors.h"

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
  Learner learner{.network = std::make_unique<ResNet>(backend, architecture, seed), .optimiser = Sgd(sgd)};
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

Checkpoint load_checkpoint(const std::string& path, Backend& backend, const SgdOptions& sgd) {
  const Safetensors file = read_safetensors(path);
  Checkpoint checkpoint{.state = SearchState::from_json(metadata(file, "state", path)), .main = {}, .probe = {}};
  checkpoint.main = load(file, "", path, backend, checkpoint.state.network_seed, sgd);
  if (checkpoint.state.phase == Phase::probe) {
    checkpoint.probe = load(file, kProbe, path, backend, checkpoint.state.probe_seed, sgd);
  }
  return checkpoint;
}

SearchState load_state(const std::string& path) {
  return SearchState::from_json(metadata(read_safetensors(path), "state", path));
}

}  // namespace stagewise
