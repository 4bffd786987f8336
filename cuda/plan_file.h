// A plan file: which engine serves each convolution best on one device, as `stagewise tune` has timed them
// (cuda/tuning.h), for runs to take theirs from. It is JSON, for people to read too, and knows nothing of CUDA.
//
//   {"format": "stagewise plans 1", "device": ..., "driver": ..., "cudnn": ...,
//    "convolutions": {"forward, [128,32,32,16] with ...": {"engine": "cudnn", "description": "engine 45 (tensor cores)",
//                     "microseconds": 7.2, "slower": {"engine 22 ...": 7.9, ...}, "plan": ..., "check": ...}, ...}}
//
// `plan` is what cuDNN itself has written: graph, engine, settings and, for an engine that it compiles, the machine code.
// So a plan file is as trustworthy as a program is.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace stagewise {

/// What plans are good for: a plan of another device, driver or cuDNN may be slow, refused or compute other bits.
struct PlanDevice {
  std::string device;  // `NVIDIA H200, compute capability 9.0`
  std::string driver;  // that supports this CUDA: `13.0`
  std::string cudnn;   // `9.14.0`
  bool operator==(const PlanDevice&) const = default;
  /// `NVIDIA H200, compute capability 9.0, a driver for CUDA 13.0, cuDNN 9.14.0`
  std::string text() const;
};

/// One convolution's plan.
struct TunedPlan {
  /// `cudnn`: the plan below. `own`: our own filter gradient. `parts`: the call is taken apart, and its parts have plans of
  /// their own or go to our direct kernel. A file with an engine that this version doesn't know is refused, for without it
  /// the bits would be others.
  std::string engine;
  std::string description;               // for people
  double microseconds = 0.0;             // of one call
  std::map<std::string, double> slower;  // the others that were timed, and their microseconds
  std::string plan;                      // cuDNN's, serialised; of engine `cudnn` only
  bool operator==(const TunedPlan&) const = default;
};

struct PlanFile {
  PlanDevice device;
  std::map<std::string, TunedPlan> plans;  // by ConvolutionGraph's key, with what the numerics were allowed
  bool operator==(const PlanFile&) const = default;

  std::string to_json() const;
  /// Errors: throws Error, naming `path`, for what is no plan file, and for a plan that has changed since it was written.
  static PlanFile from_json(std::string_view json, const std::string& path);
};

inline constexpr const char* kCudnnEngine = "cudnn";
inline constexpr const char* kOwnEngine = "own";
inline constexpr const char* kInParts = "parts";

}  // namespace stagewise
