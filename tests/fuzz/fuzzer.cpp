#include "tests/fuzz/fuzzer.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* bytes, std::size_t size, std::size_t most);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  stagewise::fuzz::check({reinterpret_cast<const char*>(bytes), size});
  return 0;
}

namespace stagewise::fuzz {

void must(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "This must not be: %s\n", what.c_str());
  std::abort();
}

std::size_t mutate_and_mend(std::uint8_t* bytes, std::size_t size, std::size_t most, unsigned seed,
                            std::string (*mend)(std::string)) {
  size = LLVMFuzzerMutate(bytes, size, most);
  if (seed % 4 == 0) return size;
  const std::string mended = mend({reinterpret_cast<const char*>(bytes), size});
  size = std::min(mended.size(), most);
  std::memcpy(bytes, mended.data(), size);
  return size;
}

std::string with_header_length(std::string file) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t at = 8; at < file.size(); ++at) {
    if (in_string && file[at] == '\\') {
      ++at;
    } else if (file[at] == '"') {
      in_string = !in_string;
    } else if (!in_string && file[at] == '{') {
      ++depth;
    } else if (!in_string && file[at] == '}' && depth > 0 && --depth == 0) {
      const std::uint64_t length = at + 1 - 8;
      std::memcpy(file.data(), &length, sizeof length);
      break;
    }
  }
  return file;
}

}  // namespace stagewise::fuzz
