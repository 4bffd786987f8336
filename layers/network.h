// A network that trains and grows: the graph of its architecture, and the tensors that its nodes work with, by name.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "autograd/functions.h"
#include "layers/graph.h"
#include "layers/initialise.h"
#include "layers/module.h"

namespace stagewise {

class Network {
 public:
  /// He-normal (fan-out) filters, drawn by name from `seed`; batch norms at 1 and 0; classifier uniform in
  /// +-1/sqrt(inputs). Every tensor's draw depends only on (seed, name). Errors: throws Error for an architecture that
  /// is out of bounds, or a type that `backend` doesn't compute with.
  Network(Backend& backend, const Architecture& architecture, std::uint64_t seed, DType dtype = DType::float32);

  /// Logits [N,classes] of images x [N,H,W,C]. In training, batch norms use the batch's statistics and update the running
  /// ones. Errors: throws Error for images of another size.
  Variable forward(const Context& context, const Variable& x);
  /// The same by the running statistics, which stay as they are. With `stage_sums`, filled with each stage's last sum
  /// before its ReLU (of pre-activation: as it is).
  Tensor evaluate(const Tensor& x, std::vector<Tensor>* stage_sums = nullptr) const;

  const Architecture& architecture() const { return architecture_; }
  /// Without the blocks that are skipped for now, and its graph: what forward() and evaluate() walk.
  const Architecture& active_architecture() const { return active_architecture_; }
  const Graph& active_graph() const { return active_graph_; }
  std::int64_t depth(std::size_t stage) const { return std::ssize(architecture_.stages.at(stage).blocks); }

  /// Puts a new block at `index` of a stage, in place: the blocks that are there keep their tensors and their names. The
  /// new block gets a number that no block of the stage ever had; its draws depend on the network's seed and its name.
  /// Returns the number. Errors: as Architecture::insert.
  std::int64_t insert(std::size_t stage, std::int64_t index, BlockInitialiser initialiser);
  /// Takes the block with this number out, for good. Errors: as Architecture::remove.
  void remove(std::size_t stage, std::int64_t number);
  /// Leaves the block with this number out of the forward pass for now (what comes in goes on), or takes it in again.
  /// Errors: as Architecture::check_removable.
  void skip(std::size_t stage, std::int64_t number, bool skipped = true);

  /// The tensors of one of the graph's convolutions, by its name. Errors: throws Error where there is none.
  const ConvolutionParameters& convolution(const std::string& name) const;
  /// The same of a batch norm that is behind no convolution.
  const BatchNormParameters& batch_norm(const std::string& name) const;
  const Variable& classifier_weight() const { return classifier_weight_; }
  const Variable& classifier_bias() const { return classifier_bias_; }

  Backend& backend() const { return *backend_; }
  /// Every tensor, those of skipped blocks too, in the order of the forward pass.
  void visit(const Visitor& visitor) const;
  /// Every parameter's value and every buffer, by name.
  std::map<std::string, Tensor> tensors() const;
  /// A network of its own with the same tensors' values.
  std::unique_ptr<Network> clone() const;
  /// Copies every parameter and buffer of the same name and shape from `other`.
  void copy_from(const Network& other);

 private:
  /// Derives the graphs anew, makes the tensors that are missing, and drops those of nodes that are no more.
  void derive();
  /// The active architecture and graph alone: blocks are skipped between any two steps of a trial.
  void derive_active();
  void close(const ResidualBlockNode& block) const;
  /// The active convolutions' parameters by name, with what the backend prepares for one pass over maps of this type.
  using Convolutions = std::map<std::string, ConvolutionParameters>;
  Convolutions prepared_convolutions(DType maps) const;
  ResidualBlockParameters parameters(const ResidualBlockNode& block, const Convolutions& convolutions) const;
  Variable walk(const Context& context, const Variable& x, std::vector<Tensor>* stage_sums) const;
  /// What a node makes of x. With `sum`, of a stage's last block: set to its sum before the ReLU.
  Variable run(const Context& context, const Node& node, const Convolutions& convolutions, const Variable& x,
               Tensor* sum) const;

  Backend* backend_;
  std::uint64_t seed_;
  DType dtype_;
  Initialiser initialiser_;
  Architecture architecture_, active_architecture_;
  std::set<std::string> skipped_;  // names of nodes
  Graph graph_, active_graph_;
  Convolutions convolutions_;
  std::map<std::string, BatchNormParameters> batch_norms_;  // those behind no convolution
  Variable classifier_weight_, classifier_bias_;
};

}  // namespace stagewise
