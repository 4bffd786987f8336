// Pictures are gnuplot's: what it takes to hand it a script. (Header only: bench/plot draws with it as well.)
#pragma once

#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>

#include "tensor/error.h"

namespace stagewise::gnuplot {

/// Told apart in print, too: let shape and colour change together.
inline constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d00", "#000000"};

/// As gnuplot reads it: between single quotes, of which it wants two for one.
inline std::string quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char letter : text) quoted += letter == '\'' ? "''" : letter == '\n' ? " " : std::string(1, letter);
  return quoted + "'";
}

/// Runs `script`, which writes the picture `out`. Errors: throws Error when `out` can't be written, or there is no
/// gnuplot, saying how to get it.
inline void draw(const std::string& script, const std::string& out) {
  require(std::ofstream(out).good(), "can't write `", out, "`");
  std::signal(SIGPIPE, SIG_IGN);  // a gnuplot that isn't there shows in its exit status
  std::FILE* gnuplot = popen("gnuplot", "w");
  require(gnuplot != nullptr, "can't start gnuplot");
  std::fputs(script.c_str(), gnuplot);
  const int status = pclose(gnuplot);
  constexpr int kNotFound = 127;  // the shell's word for it
  require(!WIFEXITED(status) || WEXITSTATUS(status) != kNotFound,
          "gnuplot, which draws, is not installed (Debian: apt-get install gnuplot-nox)");
  require(status == 0, "gnuplot could not draw ", out, "; what it said is above");
}

}  // namespace stagewise::gnuplot
