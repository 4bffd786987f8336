#include <iostream>

#include "cpu/cpu_backend.h"
#include "cuda/cuda_backend.h"
#include "search/commands/commands.h"
#include "search/run/device.h"
#include "search/run/text.h"

namespace stagewise {

namespace {

void run_devices() {
  const std::string no_cuda = cuda_unavailable();
  std::cout << left("cpu", 12) << open_backend({.device = "cpu"})->description() << '\n';
  std::cout << left("", 12) << "instruction sets:";
  for (const std::string& set : cpu_instruction_sets()) std::cout << ' ' << set;
  std::cout << '\n' << left("reference", 12) << open_backend({.device = "reference"})->description() << '\n';
  std::cout << left("cuda", 12) << (no_cuda.empty() ? open_backend({.device = "cuda"})->description() : no_cuda)
            << '\n';
  const std::vector<std::string> cards = no_cuda.empty() ? cuda_devices() : std::vector<std::string>();
  for (std::size_t number = 1; number < cards.size(); ++number) {
    std::cout << left("", 12) << "CUDA_VISIBLE_DEVICES=" << number << " takes " << cards[number] << '\n';
  }
  std::cout << "\n--device auto takes " << (no_cuda.empty() ? "cuda" : "cpu") << ".\n";
}

}  // namespace

Command add_devices(CLI::App& program) {
  return {.app = program.add_subcommand("devices", "List what this machine can compute with"), .run = run_devices};
}

}  // namespace stagewise
