// The entry point that libFuzzer drives. It can also write the corpus to start from: README.md.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/picture.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  const std::string wrong = stagewise::fuzz::what_is_wrong({reinterpret_cast<const char*>(bytes), count});
  if (wrong.empty()) return 0;
  std::fprintf(stderr, "%s\n", wrong.c_str());
  std::abort();
}
