// Checkpoints: refused when they are read or when their networks are made, or all there, and the same again.
#include "search/checkpoint.h"

#include "tests/fuzz/fuzzer.h"
#include "tests/tiny_backend.h"

namespace stagewise::fuzz {

void check(std::string_view bytes) {
  static TinyBackend backend;
  const auto read = [&] { return load_checkpoint(parse_checkpoint(bytes, "FILE"), backend, {}); };
  const auto checkpoint = read_or_refused(read);
  if (!checkpoint || !read_again(bytes)) return;
  const Checkpoint again = read();
  must(checkpoint->state.to_json() == again.state.to_json(), "another state the second time");
  const auto tensors = checkpoint->learner.network->tensors(), same = again.learner.network->tensors();
  for (const auto& [name, tensor] : tensors) {
    must(tensor.to_host<float>() == same.at(name).to_host<float>(), "other weights the second time");
  }
}

}  // namespace stagewise::fuzz

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* bytes, std::size_t size, std::size_t most, unsigned seed) {
  return stagewise::fuzz::mutate_and_mend(bytes, size, most, seed, stagewise::fuzz::with_header_length);
}
