// write_corpus FOLDER: the files that libFuzzer starts from.
#include "tests/fuzz/picture_corpus.h"

int main(int count, char** arguments) {
  if (count != 2) return 2;
  std::filesystem::create_directories(arguments[1]);
  int number = 0;
  for (const std::string& file : stagewise::fuzz::picture_corpus(STAGEWISE_SOURCE_DIR "/tests/data/pictures")) {
    std::ofstream(std::filesystem::path(arguments[1]) / std::to_string(number++), std::ios::binary) << file;
  }
}
