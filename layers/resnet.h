// A residual network for small images (He et al. 2016, section 4.2): a 3x3 stem, stages of residual blocks at falling
// resolution and rising width, global average pooling, a linear classifier.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "layers/stage.h"

namespace stagewise {

/// `standard`: no convolution bias, projections with batch norm, epsilon 1e-5, one pixel of padding on each side.
/// `paper`: the released Keras networks: biases, projections without batch norm, epsilon 1e-3, padding `same`.
enum class Variant { standard, paper };

/// `standard` or `paper`. Errors: variant_from throws Error for any other name.
std::string name_of(Variant variant);
Variant variant_from(const std::string& name);

/// Everything that fixes a network's shape. The numbers in `blocks` are the blocks' names, in the order in which they
/// run: a block inserted later has a higher number than all that came before it, those that were removed included.
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
  /// Throws Error when anything is out of bounds; of_depths and the constructors call it.
  void check() const;
  /// To and from JSON text. Errors: from_json throws Error saying what is missing or wrong.
  std::string to_json() const;
  static Architecture from_json(const std::string& text);
};

/// "3,3,3" to {3,3,3}. Errors: throws Error, naming `flag`, for anything that is not a list of whole numbers
/// in 1..1000.
std::vector<std::int64_t> parse_depths(const std::string& text, const std::string& flag);

class ResNet {
 public:
  /// He-normal (fan-out) filters, drawn by name from `seed`; batch norms at 1 and 0; classifier uniform in
  /// +-1/sqrt(inputs). Every tensor's draw depends only on (seed, name).
  ResNet(Backend& backend, const Architecture& architecture, std::uint64_t seed, DType dtype = DType::float32);

  /// Logits [N,classes] of images x [N,H,W,C]. With `stage_sums`, filled with each stage's last sum before its ReLU
  /// (evaluation only).
  Variable forward(const Context& context, const Variable& x, std::vector<Tensor>* stage_sums = nullptr) const;

  Architecture architecture() const;
  /// Without the blocks that are skipped for now.
  Architecture active_architecture() const;
  std::vector<Stage>& stages() { return stages_; }
  const std::vector<Stage>& stages() const { return stages_; }
  const ConvolutionParameters& stem() const { return stem_; }
  const Variable& classifier_weight() const { return classifier_weight_; }
  const Variable& classifier_bias() const { return classifier_bias_; }
  Backend& backend() const { return *backend_; }
  void visit(const Visitor& visitor) const;
  /// Every parameter's value and every buffer, by name.
  std::map<std::string, Tensor> tensors() const;
  /// A network of its own with the same tensors' values.
  std::unique_ptr<ResNet> clone() const;
  /// Copies every parameter and buffer of the same name and shape from `other`.
  void copy_from(const ResNet& other) const;

 private:
  Architecture architecture_of(const std::function<bool(const ResidualBlock&)>& wanted) const;

  Backend* backend_;
  Architecture frame_;  // without the blocks, which the stages know
  std::uint64_t seed_;
  DType dtype_;
  ConvolutionParameters stem_;
  std::vector<Stage> stages_;
  Variable classifier_weight_, classifier_bias_;
};

}  // namespace stagewise
