// What a network is, tensors aside: a list of named nodes, each of which works on what the one before it gives; the
// first on the images. It is derived from the architecture and never edited: growing edits the architecture. Training
// (layers/network), cost, the network that only answers (layers/inference), drawings and exports are walks over it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "layers/architecture.h"
#include "tensor/backend.h"

namespace stagewise {

/// A convolution and the batch norm behind it.
struct Convolution {
  std::string name;             // its tensors are NAME.weight and, with a bias, NAME.bias
  Shape input, filter, output;  // [1,H,W,C], [K,R,S,C], [1,P,Q,K]
  Conv2dOptions options;
  bool bias = false;
  std::string batch_norm;  // the batch norm's name: NAME.weight, .bias, .running_mean, .running_variance; empty: none
  double epsilon = 1e-5;   // the batch norm's
};

/// A batch norm that is behind no convolution: NAME.weight, .bias, .running_mean, .running_variance.
struct BatchNorm {
  std::string name;
  std::int64_t channels = 0;
  double epsilon = 1e-5;
};

/// relu(batch_norm(convolution(x))); convolution(x) where there is no batch norm, before blocks of pre-activation.
struct StemNode {
  Convolution convolution;
};

/// The maximum over windows that may overlap.
struct MaxPoolNode {
  std::int64_t window = 3;
  Conv2dOptions options;
};

/// The skip of option A: every `stride`-th pixel of x, with channels of zeros before and behind.
struct ShortcutPadding {
  std::int64_t stride = 1, zeros_before = 0;
};

/// relu(conv2(relu(conv1(x))) + skip(x)), skip = the projection, the padding, or the identity where there is neither; a
/// bottleneck has a conv3 behind conv2. With `pre_activation`, conv2(relu(conv1(a))) + skip, where a = relu(its batch
/// norm(x)), the projection is of a, and the last convolution has no batch norm behind it.
struct ResidualBlockNode {
  std::int64_t stage = 0, number = 0;
  Convolution conv1, conv2;
  std::optional<Convolution> conv3 = {}, projection = {};
  std::optional<ShortcutPadding> padding = {};
  std::optional<BatchNorm> pre_activation = {};

  /// Two or three, in the order in which they run.
  std::vector<const Convolution*> branch() const;
};

/// relu(batch_norm(x)), behind the last block of pre-activation.
struct BatchNormNode {
  BatchNorm batch_norm;
};

/// The mean over all pixels.
struct GlobalAveragePoolNode {};

/// x weight^T + bias; the tensors are NODE.weight [K,C] and NODE.bias [K].
struct LinearNode {
  std::int64_t inputs = 0, outputs = 0;  // C, K
};

using NodeKind =
    std::variant<StemNode, MaxPoolNode, ResidualBlockNode, BatchNormNode, GlobalAveragePoolNode, LinearNode>;

struct Node {
  std::string name;  // `stages.0.blocks.2`
  NodeKind kind;
  Shape output;  // of one image
};

struct Graph {
  Shape input;  // [1,H,W,C]
  std::vector<Node> nodes;
  std::vector<std::size_t> stage_ends;  // each stage's last node

  /// The size of the maps that a stage's blocks give: [1,H,W,C].
  const Shape& stage_output(std::size_t stage) const { return nodes[stage_ends[stage]].output; }
};

/// Of an architecture that Architecture::check() lets pass.
Graph graph_of(const Architecture& architecture);

/// `stages.0.blocks.3`: the node of a block, and how its tensors' names begin.
std::string block_name(std::size_t stage, std::int64_t number);

/// A node's convolutions, in the order in which their tensors are kept; none for other nodes.
std::vector<const Convolution*> convolutions_of(const Node& node);

/// A node's batch norm that is behind no convolution; nullptr where there is none. Its tensors are kept before those of
/// the convolutions.
const BatchNorm* batch_norm_of(const Node& node);

/// For visiting a NodeKind: std::visit(ByKind{[](const StemNode&) {...}, ...}, node.kind).
template <class... Functions>
struct ByKind : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
ByKind(Functions...) -> ByKind<Functions...>;

}  // namespace stagewise
