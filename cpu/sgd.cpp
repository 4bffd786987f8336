// The optimiser's step over all parameters at once; work is cut into pieces of a parameter.
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {

void CpuBackend::sgd_step(const SgdStep& call) {
  constexpr std::int64_t kPiece = 8 << 10;
  struct Piece {
    const SgdStep::Parameter* parameter;
    std::int64_t first, count;
  };
  std::vector<Piece> pieces;
  for (const SgdStep::Parameter& parameter : call.parameters) {
    for (std::int64_t first = 0; first < parameter.value.count(); first += kPiece) {
      pieces.push_back({&parameter, first, std::min(kPiece, parameter.value.count() - first)});
    }
  }
  const float learning_rate = call.rate.defined() ? call.rate.data<float>()[0] : static_cast<float>(call.learning_rate);
  pool_.run(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t item) {
    const auto& [parameter, first, count] = pieces[static_cast<std::size_t>(item)];
    kernels_.sgd(parameter->value.data<float>() + first, parameter->gradient.data<float>() + first,
                 parameter->velocity.data<float>() + first, count, learning_rate, static_cast<float>(call.momentum),
                 static_cast<float>(parameter->weight_decay), call.nesterov);
  });
}

}  // namespace stagewise::cpu
