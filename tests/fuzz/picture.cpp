// Pictures of each kind: tests/fuzz/picture.h says what must hold.
#include "tests/fuzz/picture.h"

#include "tests/fuzz/fuzzer.h"

namespace stagewise::fuzz {

void check(std::string_view bytes) {
  const std::string wrong = what_is_wrong(bytes);
  must(wrong.empty(), wrong);
}

}  // namespace stagewise::fuzz

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* bytes, std::size_t size, std::size_t most, unsigned seed) {
  return stagewise::fuzz::mutate_and_mend(bytes, size, most, seed, stagewise::fuzz::with_checksums);
}
