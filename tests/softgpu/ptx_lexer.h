// PTX text as tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace softgpu {

struct PtxToken {
  enum Kind { word, number, string, mark, end } kind = end;
  std::string text;  // a word keeps its dots: "ld.global.f32", ".reg", "%tid.x"
  int line = 0;
};

std::vector<PtxToken> tokenize_ptx(const std::string& text);

/// A number token's 64 bits. 0f and 0d numbers are bit patterns already.
std::uint64_t ptx_number(const std::string& text);

}  // namespace softgpu
