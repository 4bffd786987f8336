// What fixes a network's shape: a residual network for small images (He et al. 2016, section 4.2) has a 3x3 stem, stages
// of residual blocks at falling resolution and rising width, global average pooling, and a linear classifier.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace stagewise {

constexpr std::int64_t kMaxDepth = 1000;             // blocks in a stage
constexpr std::int64_t kMaxBlockNumber = 1'000'000;  // insertions over a stage's life

/// `standard`: no convolution bias, projections with batch norm, epsilon 1e-5, one pixel of padding on each side.
/// `paper`: the released Keras networks: biases, projections without batch norm, epsilon 1e-3, padding `same`.
enum class Variant { standard, paper };

/// `standard` or `paper`. Errors: variant_from throws Error for any other name.
std::string name_of(Variant variant);
Variant variant_from(const std::string& name);

/// The numbers in `blocks` are the blocks' names, in the order in which they run: a block inserted later has a higher
/// number than all that came before it, those that were removed included.
struct Architecture {
  struct StageBlocks {
    std::int64_t width = 16;
    std::vector<std::int64_t> blocks;
    std::int64_t given_away = 0;  // numbers below this one were given to a block once, even if none has them now
    /// The number that the next block gets.
    std::int64_t next_number() const;
    bool operator==(const StageBlocks& other) const {
      return width == other.width && blocks == other.blocks && next_number() == other.next_number();
    }
  };
  std::vector<StageBlocks> stages;
  std::int64_t classes = 10;
  std::int64_t height = 32, width = 32, channels = 3;  // of the images
  Variant variant = Variant::standard;
  bool operator==(const Architecture&) const = default;

  /// Stages of `depths` blocks, widths 16, 32, 64, ... Errors: throws Error when there is no stage, a depth is not in
  /// 1..1000, or the images are too small for the number of stages (each but the first halves them).
  static Architecture of_depths(const std::vector<std::int64_t>& depths, Variant variant = Variant::standard);
  std::vector<std::int64_t> depths() const;

  /// Puts a new block at `index` of a stage and returns its number, which no block of the stage ever had. Errors: throws
  /// Error for a stage that is not there, an index not in 1..depth (the first block changes the resolution and stays
  /// first), or a stage that has kMaxDepth blocks.
  std::int64_t insert(std::size_t stage, std::int64_t index);
  /// Takes the block with this number out. Errors: as check_removable.
  void remove(std::size_t stage, std::int64_t number);
  /// Errors: throws Error when the stage has no block of this number, or it is the first.
  void check_removable(std::size_t stage, std::int64_t number) const;

  /// Throws Error when anything is out of bounds; of_depths, from_json and a Network's constructor call it.
  void check() const;
  /// To and from JSON text. Errors: from_json throws Error saying what is missing or wrong.
  std::string to_json() const;
  static Architecture from_json(const std::string& text);
};

/// "3,3,3" to {3,3,3}. Errors: throws Error, naming `flag`, for anything that is not a list of whole numbers
/// in 1..1000.
std::vector<std::int64_t> parse_depths(const std::string& text, const std::string& flag);

}  // namespace stagewise
