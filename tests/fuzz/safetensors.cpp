// Safetensors files: refused, or read into tensors that have all of their bytes and no more than the file paid for.
#include "tensor/safetensors.h"

#include "tests/fuzz/fuzzer.h"

namespace stagewise::fuzz {

void check(std::string_view bytes) {
  const auto read = [&] { return parse_safetensors(bytes, "FILE"); };
  const auto file = read_or_refused(read);
  if (!file) return;
  std::size_t total = 0;
  for (const auto& [name, entry] : file->tensors) {
    const std::size_t expected = static_cast<std::size_t>(entry.shape.count()) * size_of(entry.dtype);
    must(entry.bytes.size() == expected, "a tensor whose bytes don't fit its shape");
    total += expected;
  }
  must(total <= 2 * bytes.size(), "more than the file holds");  // half floats become floats
  if (!read_again(bytes)) return;
  const Safetensors again = read();
  must(file->metadata == again.metadata && file->unread == again.unread, "other metadata the second time");
  must(file->tensors.size() == again.tensors.size(), "other tensors the second time");
  for (const auto& [name, entry] : file->tensors) {
    must(entry.bytes == again.tensors.at(name).bytes, "other bytes the second time");
  }
}

}  // namespace stagewise::fuzz

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* bytes, std::size_t size, std::size_t most, unsigned seed) {
  return stagewise::fuzz::mutate_and_mend(bytes, size, most, seed, stagewise::fuzz::with_header_length);
}
