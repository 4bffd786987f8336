// What every fuzzer is made of: one says what must hold for any bytes at all, and libFuzzer looks for bytes for which it
// doesn't. README.md has the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "tensor/error.h"

namespace stagewise::fuzz {

/// What a fuzzer defines. Ends the program, by must(), where something doesn't hold; libFuzzer keeps the bytes.
void check(std::string_view bytes);

void must(bool holds, const std::string& what);

/// What `read` returns, or nothing where it refuses, with an Error that gives a reason. Whatever else it throws ends the
/// program.
template <class Read>
auto read_or_refused(const Read& read) -> std::optional<decltype(read())> {
  try {
    return read();
  } catch (const Error& error) {
    must(!std::string_view(error.what()).empty(), "refused without a reason");
    return {};
  }
}

/// Whether these bytes are among the eighth that is read twice, which must come to the same.
inline bool read_again(std::string_view bytes) { return std::hash<std::string_view>()(bytes) % 8 == 0; }

/// libFuzzer's own mutation, which can't know that a format counts or checks its own bytes; three times out of four
/// `mend` then puts that right. To be called by LLVMFuzzerCustomMutator, with its arguments.
std::size_t mutate_and_mend(std::uint8_t* bytes, std::size_t size, std::size_t most, unsigned seed,
                            std::string (*mend)(std::string));

/// A safetensors file with the right length before its header, or what has no header as it is.
std::string with_header_length(std::string file);

}  // namespace stagewise::fuzz
