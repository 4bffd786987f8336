// The CUDA backend, or its absence: no_cuda.cpp stands in where there is no toolkit.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/plan_file.h"
#include "tensor/backend.h"

namespace stagewise {

struct CudaOptions {
  /// How tensors get their memory. For tests: `exact` makes one allocation a tensor and writes nothing to it, so that
  /// compute-sanitizer and tests/softgpu see where each one ends and what nobody wrote; `filled` is the same, but each
  /// starts as NaN, for a card that nothing watches; `guarded` puts guard bytes round each as well.
  enum class Memory { cached, exact, filled, guarded };

  bool tf32 = false;                // convolutions in float32 may round their operands to TF32's 10 bits
  bool strict_convolution = false;  // no Winograd
  bool direct_convolution = false;  // our readable kernels in place of cuDNN: the oracle
  bool own_filter_gradient = true;  // the gradient of filters by our own kernel where it can; off: cuDNN's
  bool fuse = true;                 // cuDNN's fused graphs where it has them; off: always in parts, for comparison
  std::shared_ptr<const PlanFile> plans;  // tuned on plan_device(); what it has no plan for, cuDNN's order decides
  Memory memory = Memory::cached;
  bool record = true;                              // off: can_record() is false
  std::function<void(const std::string&)> report;  // told about each convolution that cuDNN has no plan for, and why
                                                   // work couldn't be recorded
  /// The cudaStream_t to queue all work on, which must outlive the backend; null: one of its own.
  void* stream = nullptr;
};

/// Why there is no CUDA here (no toolkit when this was built, no driver, no device) and what to do about it; empty when
/// there is.
std::string cuda_unavailable();

/// `CUDA 13.0, cuDNN 9.14`: what it was built with; empty when CUDA was left out.
std::string cuda_libraries();

/// The cards that the driver shows, a line each: the first is the one that is used. Errors: throws
/// Error(cuda_unavailable()) when there is none.
std::vector<std::string> cuda_devices();

/// 10^9 multiplications and additions a second in float32 that the cores of the first card do at its top clock, by its
/// properties; tensor cores not counted. Errors: as cuda_devices().
double cuda_peak_gflops();

/// The first device that the driver shows (CUDA_VISIBLE_DEVICES chooses). All work is queued on one stream; only
/// `copy_to_host` and `synchronise` wait. Same seed, same bits, run after run.
/// Errors: throws Error(cuda_unavailable()) when there is none.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options = {});

/// What plan files of this machine are for. Errors: throws Error(cuda_unavailable()) when there is none.
PlanDevice plan_device();

/// How far a tuning has come: `done` of `count` convolutions, the last of which is `name`; `by_order` are the
/// microseconds of the plan that comes first in cuDNN's order, negative where there is none.
struct TuningProgress {
  std::size_t done = 0, count = 0;
  std::string name;
  const TunedPlan* tuned = nullptr;  // nullptr before the first
  double by_order = -1.0;
};

/// Does `work`, once and without cuDNN, to see which convolutions it asks `backend` for, which make_cuda_backend() made;
/// then times on the device how each of them may be done, whole or in parts, and keeps the fastest of what is within
/// the backend's options, gives the same bits each time and agrees with our direct kernel. `watch` is called before the
/// first and after each; what it throws ends the tuning. Errors: throws Error for another backend.
PlanFile tune_convolutions(Backend& backend, const std::function<void()>& work,
                           const std::function<void(const TuningProgress&)>& watch = {});

}  // namespace stagewise
