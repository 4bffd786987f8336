// What fixes a network's shape: a residual network has a stem, stages of residual blocks at falling resolution and rising
// width, global average pooling, and a linear classifier.
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

/// What the blocks of a network compute, w being the stage's width, with a batch norm to each convolution:
///  basic                      relu(3x3(relu(3x3(x))) + skip): two convolutions to w (He et al. 2016, arXiv 1512.03385)
///  bottleneck                 relu(1x1(relu(3x3(relu(1x1(x))))) + skip): two to w, and one to 4w; a stride is the 3x3's (the
///                             field's "v1.5")
///  pre_activation,            the same with batch norm and ReLU before each convolution, and nothing behind the sum (He et
///  pre_activation_bottleneck  al. 2016, arXiv 1603.05027; wide ones: Zagoruyko and Komodakis 2016, arXiv 1605.07146)
enum class BlockKind { basic, bottleneck, pre_activation, pre_activation_bottleneck };

/// `small`: 3x3, for small images. `imagenet`: 7x7 at stride 2, then the maximum of 3x3 pixels at stride 2.
enum class StemKind { small, imagenet };

/// What the skip is where a block changes width or size (He et al. 2016, section 3.3): `projection`, a 1x1 convolution
/// (option B), or `padding`, every second pixel, with channels of zeros half before and half behind (option A).
enum class Shortcut { projection, padding };

/// `basic`, `bottleneck`, `pre-activation`, `pre-activation-bottleneck`; `small`, `imagenet`; `projection`, `padding`.
/// Errors: the *_from throw Error for any other name.
std::string name_of(BlockKind kind);
std::string name_of(StemKind kind);
std::string name_of(Shortcut shortcut);
BlockKind block_kind_from(const std::string& name);
StemKind stem_kind_from(const std::string& name);
Shortcut shortcut_from(const std::string& name);

bool is_bottleneck(BlockKind kind);
bool is_pre_activation(BlockKind kind);

/// What a network is made of, but for the number of its blocks.
struct NetworkStyle {
  BlockKind block = BlockKind::basic;
  StemKind stem = StemKind::small;
  Shortcut shortcut = Shortcut::projection;
  std::vector<std::int64_t> widths;  // of the stages; empty: 16, 32, 64, ...
  std::int64_t stem_width = 0;       // the stem's channels; 0: the first stage's width
  bool operator==(const NetworkStyle&) const = default;
};

/// The numbers in `blocks` are the blocks' names, in the order in which they run: a block inserted later has a higher
/// number than all that came before it, those that were removed included.
struct Architecture {
  struct StageBlocks {
    std::int64_t width = 16;  // a bottleneck's inner one: four times that come out
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
  BlockKind block = BlockKind::basic;
  StemKind stem = StemKind::small;
  Shortcut shortcut = Shortcut::projection;
  std::int64_t stem_width = 0;  // 0: the first stage's width
  bool operator==(const Architecture&) const = default;

  /// Stages of `depths` blocks for images of 32x32 pixels (imagenet stem: 224x224). Errors: throws Error when there is no
  /// stage, a depth is not in 1..1000, there are other than as many widths, or anything else is out of bounds.
  static Architecture of_depths(const std::vector<std::int64_t>& depths, Variant variant = Variant::standard,
                                const NetworkStyle& style = {});
  std::vector<std::int64_t> depths() const;
  NetworkStyle style() const;
  /// The channels that the stem gives, and those that a stage's blocks give.
  std::int64_t stem_channels() const;
  std::int64_t stage_channels(std::size_t stage) const;

  /// Puts a new block at `index` of a stage and returns its number, which no block of the stage ever had. Errors: throws
  /// Error for a stage that is not there, an index not in 1..depth (the first block changes the resolution and stays
  /// first), or a stage that has kMaxDepth blocks.
  std::int64_t insert(std::size_t stage, std::int64_t index);
  /// Takes the block with this number out. Errors: as check_removable.
  void remove(std::size_t stage, std::int64_t number);
  /// Errors: throws Error when the stage has no block of this number, or it is the first.
  void check_removable(std::size_t stage, std::int64_t number) const;

  /// The stem's channels; 0 or as many as the first stage's width: that width, whatever it becomes.
  void set_stem_width(std::int64_t wanted);

  /// Throws Error when anything is out of bounds; of_depths, from_json and a Network's constructor call it.
  void check() const;
  /// To and from JSON text. Errors: from_json throws Error saying what is missing or wrong.
  std::string to_json() const;
  static Architecture from_json(const std::string& text);
};

/// `standard`, or `standard, bottleneck blocks, imagenet stem`: the variant, and what else is not as in plain networks.
std::string kind_text(const Architecture& architecture);

/// "160,320,640" to {160,320,640}. Errors: throws Error, naming `flag`, for anything that is not a list of widths.
std::vector<std::int64_t> parse_widths(const std::string& text, const std::string& flag);

/// "3,3,3" to {3,3,3}. Errors: throws Error, naming `flag`, for anything that is not a list of whole numbers
/// in 1..1000.
std::vector<std::int64_t> parse_depths(const std::string& text, const std::string& flag);

}  // namespace stagewise
