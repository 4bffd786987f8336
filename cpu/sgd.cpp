// The steps over all parameters at once, of the optimisers and of the weights' averages; work is cut into pieces of a
// parameter.
#include <cmath>

#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

template <class Parameter>
struct Piece {
  const Parameter* parameter;
  std::int64_t first, count;
};

template <class Parameter>
std::vector<Piece<Parameter>> pieces_of(std::span<const Parameter> parameters) {
  constexpr std::int64_t kPiece = 8 << 10;
  std::vector<Piece<Parameter>> pieces;
  for (const Parameter& parameter : parameters) {
    for (std::int64_t first = 0; first < parameter.value.count(); first += kPiece) {
      pieces.push_back({&parameter, first, std::min(kPiece, parameter.value.count() - first)});
    }
  }
  return pieces;
}

template <class Step>
double learning_rate_of(const Step& call) {
  return call.rate.defined() ? double(call.rate.template data<float>()[0]) : call.learning_rate;
}

/// Of the parameter's step number t, which both corrections need.
AdamWFactors factors_of(const AdamWStep& call, const AdamWStep::Parameter& parameter, double t) {
  const double learning_rate = learning_rate_of(call);
  return {.decay = static_cast<float>(learning_rate * parameter.weight_decay),
          .step = static_cast<float>(learning_rate / (1.0 - std::pow(call.beta1, t))),
          .correction = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(call.beta2, t))),
          .beta1 = static_cast<float>(call.beta1),
          .share1 = static_cast<float>(1.0 - call.beta1),
          .beta2 = static_cast<float>(call.beta2),
          .share2 = static_cast<float>(1.0 - call.beta2),
          .epsilon = static_cast<float>(call.epsilon)};
}

}  // namespace

void CpuBackend::sgd_step(const SgdStep& call) {
  const auto pieces = pieces_of(call.parameters);
  const auto learning_rate = static_cast<float>(learning_rate_of(call));
  pool_.run(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t item) {
    const auto& [parameter, first, count] = pieces[static_cast<std::size_t>(item)];
    kernels_.sgd(parameter->value.data<float>() + first, parameter->gradient.data<float>() + first,
                 parameter->velocity.data<float>() + first, count, learning_rate, static_cast<float>(call.momentum),
                 static_cast<float>(parameter->weight_decay), call.nesterov);
  });
}

void CpuBackend::adamw_step(const AdamWStep& call) {
  const auto pieces = pieces_of(call.parameters);
  std::vector<AdamWFactors> factors;
  for (const AdamWStep::Parameter& parameter : call.parameters) {
    factors.push_back(factors_of(call, parameter, parameter.steps.data<float>()[0] += 1.0F));
  }
  pool_.run(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t item) {
    const auto& [parameter, first, count] = pieces[static_cast<std::size_t>(item)];
    kernels_.adamw(parameter->value.data<float>() + first, parameter->gradient.data<float>() + first,
                   parameter->first.data<float>() + first, parameter->second.data<float>() + first, count,
                   factors[static_cast<std::size_t>(parameter - call.parameters.data())]);
  });
}

void CpuBackend::average_step(const AverageStep& call) {
  const auto pieces = pieces_of(call.parameters);
  pool_.run(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t item) {
    const auto& [parameter, first, count] = pieces[static_cast<std::size_t>(item)];
    kernels_.average(parameter->average.data<float>() + first, parameter->value.data<float>() + first, count,
                     static_cast<float>(1.0 - call.decay));
  });
}

}  // namespace stagewise::cpu
