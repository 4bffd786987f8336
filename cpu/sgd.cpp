// The steps over all parameters at once, of the optimiser and of the weights' averages; work is cut into pieces of a
// parameter.
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

}  // namespace

void CpuBackend::sgd_step(const SgdStep& call) {
  const auto pieces = pieces_of(call.parameters);
  const float learning_rate = call.rate.defined() ? call.rate.data<float>()[0] : static_cast<float>(call.learning_rate);
  pool_.run(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t item) {
    const auto& [parameter, first, count] = pieces[static_cast<std::size_t>(item)];
    kernels_.sgd(parameter->value.data<float>() + first, parameter->gradient.data<float>() + first,
                 parameter->velocity.data<float>() + first, count, learning_rate, static_cast<float>(call.momentum),
                 static_cast<float>(parameter->weight_decay), call.nesterov);
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
