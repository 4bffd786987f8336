// Model files, others' too: refused, or a network whose weights are numbers, and the same again.
#include "search/training/model_file.h"
#include "search/training/network_tensors.h"
#include "tests/fuzz/fuzzer.h"
#include "tests/tiny_backend.h"

namespace stagewise::fuzz {

void check(std::string_view bytes) {
  static TinyBackend backend;
  const auto read = [&] { return parse_model(backend, bytes, "FILE"); };
  const auto model = read_or_refused(read);
  if (!model) return;
  require_finite(*model->network, "the network");
  const std::int64_t classes = model->network->architecture().classes;
  must(model->classes.empty() || std::ssize(model->classes) == classes, "classes without names");
  if (!read_again(bytes)) return;
  const Model again = read();
  must(model->classes == again.classes && model->data == again.data, "other names the second time");
  const auto tensors = model->network->tensors(), same = again.network->tensors();
  for (const auto& [name, tensor] : tensors) {
    must(tensor.to_host<float>() == same.at(name).to_host<float>(), "other weights the second time");
  }
}

}  // namespace stagewise::fuzz

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* bytes, std::size_t size, std::size_t most, unsigned seed) {
  return stagewise::fuzz::mutate_and_mend(bytes, size, most, seed, stagewise::fuzz::with_header_length);
}
