#include "search/run/version.h"

#include <commit.h>  // written by version.cmake at every build

#include "cpu/cpu_backend.h"
#include "cuda/cuda_backend.h"
#include "tensor/error.h"

namespace stagewise {

std::string program_version() {
  const std::string commit = STAGEWISE_COMMIT;
  return "stagewise " STAGEWISE_VERSION + (commit.empty() ? "" : " (commit " + commit + ")");
}

std::string program_details() {
#ifdef __clang__
  const std::string compiler = concat("Clang ", __clang_major__, ".", __clang_minor__, ".", __clang_patchlevel__);
#else
  const std::string compiler = "GCC " __VERSION__;
#endif
  std::string sets;
  for (const std::string& set : cpu_instruction_sets()) sets += " " + set;
  const std::string cuda = cuda_libraries();
  return program_version() + "\ncompiler          " + compiler + "\ninstruction sets " + sets +
         " (here)\nGPU               " + (cuda.empty() ? "left out" : cuda);
}

}  // namespace stagewise
