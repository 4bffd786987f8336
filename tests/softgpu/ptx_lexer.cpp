#include "ptx_lexer.h"

#include <cctype>
#include <cstdlib>

namespace softgpu {
namespace {

bool starts_word(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' || c == '.';
}
bool continues_word(char c) { return starts_word(c) || std::isdigit(static_cast<unsigned char>(c)); }

/// Behind spaces and comments.
std::size_t skip_blank(const std::string& text, std::size_t at, int& line) {
  for (;;) {
    while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at]))) line += text[at++] == '\n';
    if (text.compare(at, 2, "//") == 0) {
      at = std::min(text.find('\n', at), text.size());
    } else if (text.compare(at, 2, "/*") == 0) {
      const std::size_t stop = std::min(text.find("*/", at + 2), text.size() - 2) + 2;
      for (; at < stop; ++at) line += text[at] == '\n';
    } else {
      return at;
    }
  }
}

std::size_t end_of_word(const std::string& text, std::size_t at) {
  while (at < text.size()) {
    if (continues_word(text[at])) {
      ++at;
    } else if (text.compare(at, 2, "::") == 0) {  // shared::cta
      at += 2;
    } else {
      break;
    }
  }
  return at;
}

}  // namespace

std::vector<PtxToken> tokenize_ptx(const std::string& text) {
  std::vector<PtxToken> tokens;
  int line = 1;
  std::size_t at = 0;
  while ((at = skip_blank(text, at, line)) < text.size()) {
    std::size_t stop = at + 1;
    PtxToken::Kind kind = PtxToken::mark;
    if (starts_word(text[at])) {
      kind = PtxToken::word;
      stop = end_of_word(text, at);
    } else if (std::isdigit(static_cast<unsigned char>(text[at]))) {
      kind = PtxToken::number;
      while (stop < text.size() && (std::isalnum(static_cast<unsigned char>(text[stop])) || text[stop] == '.')) ++stop;
    } else if (text[at] == '"') {
      kind = PtxToken::string;
      stop = std::min(text.find('"', at + 1), text.size());
      tokens.push_back({kind, text.substr(at + 1, stop - at - 1), line});
      at = stop + 1;
      continue;
    }
    tokens.push_back({kind, text.substr(at, stop - at), line});
    at = stop;
  }
  tokens.push_back({PtxToken::end, "the end", line});
  return tokens;
}

std::uint64_t ptx_number(const std::string& text) {
  if (text.size() > 2 && text[0] == '0' && (text[1] == 'f' || text[1] == 'F' || text[1] == 'd' || text[1] == 'D')) {
    return std::strtoull(text.c_str() + 2, nullptr, 16);
  }
  if (text.size() > 2 && text[0] == '0' && (text[1] == 'b' || text[1] == 'B')) {
    return std::strtoull(text.c_str() + 2, nullptr, 2);
  }
  return std::strtoull(text.c_str(), nullptr, 0);
}

}  // namespace softgpu
