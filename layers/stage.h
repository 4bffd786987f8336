// A stage: the run of residual blocks at one resolution. This is what grows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/functions.h"
#include "layers/initialise.h"
#include "layers/module.h"

namespace stagewise {

constexpr std::int64_t kMaxDepth = 1000;             // blocks in a stage
constexpr std::int64_t kMaxBlockNumber = 1'000'000;  // insertions over a stage's life

/// How an inserted block starts.
///  zero_gamma   He filters; the last batch norm's weight and bias are 0: the block is the identity, to the bit,
///  because
///               its input has been through a ReLU.
///  he           like a block of a new network.
///  copy         the parameters and running statistics of the block before it (as `he` where that one has other
///  shapes). copy_zero    as `copy`, but with the last batch norm's weight and bias 0: the identity, with trained
///  features. gaussian_bn  AutoGrow's: He filters; the last batch norm's weight and bias drawn from a standard normal
///  (Wen, Yan,
///               Chen, Li, KDD 2020).
enum class BlockInitialiser { zero_gamma, he, copy, copy_zero, gaussian_bn };

std::string name_of(BlockInitialiser initialiser);
/// `zero-gamma`, `he`, `copy`, `copy-zero` or `gaussian-bn`. Errors: throws Error for any other name.
BlockInitialiser block_initialiser_from(const std::string& name);

struct ResidualBlock {
  std::int64_t number = 0;  // its stable name in the stage
  bool skipped = false;     // for now the block is left out: what comes in goes on
  ResidualBlockParameters parameters;
  void visit(const std::string& prefix, const Visitor& visitor) const;
};

/// What a stage's blocks have in common.
struct StageOptions {
  std::string name;  // `stages.0`
  std::int64_t in_width = 16, width = 16;
  std::int64_t stride = 1;  // of the first block
  bool paper = false;       // convolution biases, epsilon 1e-3, Keras's padding, projections without batch norm

  /// `stages.0.blocks.3`
  std::string block_name(std::int64_t number) const;
};

/// A new block, its tensors drawn by name. Only a stage's `first` block strides and changes the width, and has a
/// projection when it does either.
ResidualBlock make_residual_block(const Initialiser& initialiser, const StageOptions& options, std::int64_t number,
                                  bool first);

class Stage {
 public:
  /// Blocks with the given distinct numbers, all below `next_number`, drawn from `seed` as `he`. Errors: throws Error
  /// when there is none.
  Stage(Backend& backend, StageOptions options, const std::vector<std::int64_t>& numbers, std::int64_t next_number,
        std::uint64_t seed, DType dtype);

  /// [N,H,W,in_width] to [N,H/stride,W/stride,width]. With `sum`, set to the last block's sum before its ReLU.
  Variable forward(const Context& context, Variable x, Tensor* sum = nullptr) const;

  /// Puts a new block at `index`, in place: the blocks that are there keep their tensors and their names. The new
  /// block gets a number that no block of the stage ever had; its draws depend on the network's seed and its name.
  /// Returns the number. Errors: throws Error when index is not in 1..depth() (the first block changes the resolution
  /// and stays first), or the stage has kMaxDepth blocks.
  std::int64_t insert(std::int64_t index, BlockInitialiser initialiser);

  /// Takes the block with this number out. Errors: throws Error when there is none, or it is the first.
  void remove(std::int64_t number);

  /// Leaves the block with this number out of the forward pass, or takes it in again. Errors: as remove().
  void skip(std::int64_t number, bool skipped = true);

  /// The number that the next block gets.
  std::int64_t next_number() const { return next_number_; }

  std::int64_t depth() const { return static_cast<std::int64_t>(blocks_.size()); }
  const std::vector<ResidualBlock>& blocks() const { return blocks_; }
  const StageOptions& options() const { return options_; }
  void visit(const Visitor& visitor) const;

 private:
  /// Of a block that may be taken out.
  std::vector<ResidualBlock>::iterator find(std::int64_t number);

  Initialiser initialiser_;
  StageOptions options_;
  std::vector<ResidualBlock> blocks_;
  std::int64_t next_number_;
};

}  // namespace stagewise
