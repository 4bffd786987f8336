// Convolutions by cuDNN: which graph for which call, and the plans that were made for them.
//
// A call of tensor/backend.h may be more than one graph can hold, which depends on the device, the type and the shapes:
// in bfloat16, for example, cuDNN normalises and ReLUs the input as it reads and gathers sums of the output as it
// writes; in exact float32 it does neither. So `run` does a call in one go or says that it can't, and the backend tries
// the whole call first, then its parts with our own kernels between them, and where cuDNN has no plan even for the bare
// convolution, our direct convolution (cuda/convolution_direct.cu). One plan among cuDNN's is our own kernel: the
// gradient of the filters (cuda/filter_gradient.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cuda/cudnn_plan.h"
#include "cuda/plan_file.h"
#include "cuda/workspace.h"
#include "tensor/backend.h"

namespace stagewise::cuda {

struct ConvolutionSettings {
  bool tf32 = false;                 // float32 operands may be rounded to TF32's 10 bits: the tensor cores' speed
  bool strict = false;               // no Winograd transforms
  bool deterministic = true;         // no engine whose sums depend on the order in which blocks finish
  bool fuse = true;                  // use cuDNN's fused patterns; off: for comparison
  bool own_filter_gradient = false;  // our own kernel by weights wherever it applies, unless a plan file says otherwise
  std::size_t workspace_bytes = std::size_t{256} << 20;
  bool shared_workspace = false;  // one buffer for all plans, which grows; off: each call gets its own
  /// Of this device and this cuDNN; what it has no plan for is planned in the heuristics' order. nullptr: none.
  std::shared_ptr<const PlanFile> plans;
  /// Told once about each convolution for which there is no plan, and why.
  std::function<void(const std::string&)> report;
};

/// What one graph computes. Plans are cached by this; the device and the settings are the cache's own.
struct ConvolutionGraph {
  enum class Direction { forward, by_data, by_weights };
  Direction direction = Direction::forward;
  Shape x, weight, y;
  Conv2dOptions options;
  DType maps = DType::float32, filters = DType::float32;
  bool normalise = false;  // x is normalised and ReLUed on read
  bool bias = false, addend = false, relu = false;
  bool add_to_output = false;  // the addend is what y, or by data dx, holds before

  bool bare() const { return !(normalise || bias || addend || relu || add_to_output); }
  bool operator==(const ConvolutionGraph&) const = default;
  /// What is fused, each with a sign before it: ` + batch norm and ReLU on read`
  std::string fused() const;
  /// `convolution by data, [128,32,32,16] with [16,3,3,16], stride 1, bfloat16`
  std::string description() const;
  /// All of it, as plan files name it: `by data, [128,32,32,16] with [16,3,3,16] to [128,32,32,16], stride 1, padding 1,
  /// maps bfloat16, filters bfloat16`
  std::string key() const;
};

class CudnnConvolutions {
 public:
  /// For a handle's device, or to look at plans only, for a described one.
  CudnnConvolutions(cudnn::Target target, ConvolutionSettings settings)
      : target_(std::move(target)), settings_(std::move(settings)), workspace_(settings_.shared_workspace) {}

  /// Each queues the call on the handle's stream as one graph, or does nothing and returns false where there is no plan
  /// for all of it. Feature maps and filters are of one type, float32 or bfloat16, but that d_weight may be float32
  /// with feature maps in bfloat16; bias and coefficients are float32. An addend must be another tensor than the
  /// output, or the output itself.
  ///
  /// Mean and variance are not for cuDNN: its kernels that gather statistics end in atomic sums, so that no two runs
  /// give the same bits (seen on an H200, though their plans carry no note of it).
  bool run(const ConvolutionForward& call);
  /// Without input_batch_norm: cuDNN has no plan for that in bfloat16 or float32.
  bool run(const ConvolutionBackwardData& call);
  /// Without d_bias and without batch norms.
  bool run(const ConvolutionBackwardWeights& call);

  /// The plan for a graph, from the plan file or else the first in the heuristics' order, made when it is first asked
  /// for; nullptr where there is none. `why` tells then. Errors: throws Error when cuDNN doesn't take the file's plan.
  const cudnn::Plan* plan(const ConvolutionGraph& graph, std::string* why = nullptr);

  /// Most calls that come are over so many images (0: nobody knows). Only for these an engine is compiled, which takes
  /// a second or two a graph: a pass's last batch and evaluations go in parts, and so does inference (what has a bias).
  void expect_batch(std::int64_t images) { usual_batch_ = images; }

  // For cuda/tuning.cpp.
  bool tf32() const { return settings_.tf32; }
  /// A graph's name in a plan file: its key, and what the settings allow.
  std::string name_in_file(const ConvolutionGraph& graph) const;
  /// Every plan within the settings' limits.
  std::vector<cudnn::Plan> candidates(const ConvolutionGraph& graph) const;
  /// Whether our own filter gradient (cuda/filter_gradient.h) may be taken for a graph.
  bool own_applies(const ConvolutionGraph& graph) const;
  /// From now on the graph has this plan, or our own kernel, or neither.
  void use(const ConvolutionGraph& graph, std::optional<cudnn::Plan> plan, bool own = false);
  /// While `asked` isn't nullptr, nothing is run: `run` notes there, once, which graph it would need, and returns false.
  void collect(std::vector<ConvolutionGraph>* asked) { asked_ = asked; }

  Workspace& workspace() { return workspace_; }

  /// For `describe --plan`: for x [N,H,W,C] and weight [K,R,S,C], feature maps of type `maps`, the plan in each
  /// direction, with as much fused in a training step as cuDNN has a plan for.
  std::vector<ConvolutionPlanText> describe(const Shape& x, const Shape& weight, const Conv2dOptions& options,
                                            DType maps);

 private:
  struct CachedPlan {
    ConvolutionGraph graph;
    bool seldom = false;  // of a size for which nothing is compiled
    std::optional<cudnn::Plan> plan;
    bool own = false;   // our own kernel takes it
    std::string why;    // there is neither
    std::string tuned;  // the plan file's description of it; "": it is in the heuristics' order
  };
  bool seldom(const ConvolutionGraph& graph) const;
  cudnn::PlanLimits limits(const ConvolutionGraph& graph) const;
  CachedPlan& cached(const ConvolutionGraph& graph);
  CachedPlan make(const ConvolutionGraph& graph) const;
  bool run(const ConvolutionGraph& graph, Backend& backend, std::vector<std::pair<cudnn::TensorId, Tensor>> tensors);
  ConvolutionPlanText describe(const ConvolutionGraph& bare);

  cudnn::Target target_;
  ConvolutionSettings settings_;
  std::vector<CachedPlan> plans_;  // some dozens
  std::int64_t usual_batch_ = 0;
  std::vector<ConvolutionGraph>* asked_ = nullptr;
  Workspace workspace_;
};

}  // namespace stagewise::cuda
