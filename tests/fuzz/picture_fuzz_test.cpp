// Thousands of damaged pictures, the same every time: each is decoded or refused, and the sanitizers watch (.ci/run).
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>

#include "tensor/random.h"
#include "tests/fuzz/picture.h"
#include "tests/fuzz/picture_corpus.h"

namespace stagewise {
namespace {

constexpr const char* kJpegs = STAGEWISE_SOURCE_DIR "/tests/data/pictures";

/// Numbers one after another.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : random_(seed, stream_of("fuzz")) {}
  std::size_t below(std::size_t count) { return count == 0 ? 0 : random_.below(next_++, count); }

 private:
  Random random_;
  std::uint64_t next_ = 0;
};

/// Damages a few places: flips a bit, sets a byte or four to what breaks programs, cuts, removes, repeats, or takes a
/// piece of another file.
std::string damaged(std::string file, const std::vector<std::string>& others, Draws& draws) {
  constexpr std::uint32_t kHostile[] = {0,      1,      0x7F,       0x80,       0xFF,      0x7FFF,
                                        0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
  for (std::size_t changes = 1 + draws.below(4); changes > 0 && !file.empty(); --changes) {
    // Headers are hit as often as all the rest.
    const std::size_t at = draws.below(draws.below(2) == 0 ? std::min<std::size_t>(file.size(), 64) : file.size());
    const std::size_t length = std::min(1 + draws.below(24), file.size() - at);
    switch (draws.below(8)) {
      case 0: file[at] = static_cast<char>(file[at] ^ 1 << draws.below(8)); break;
      case 1: file[at] = static_cast<char>(draws.below(256)); break;
      case 2:
      case 3: {
        const std::uint32_t value = kHostile[draws.below(std::size(kHostile))];
        const int bytes = 1 << draws.below(3);
        const std::string text = picture_files::number(value, bytes, draws.below(2) == 0);
        file.replace(at, std::min(text.size(), file.size() - at), text);
        break;
      }
      case 4: file.resize(at); break;
      case 5: file.erase(at, length); break;
      case 6: file.insert(at, file.substr(at, length)); break;
      default: {
        const std::string& other = others[draws.below(others.size())];
        file.replace(at, length, other.substr(draws.below(other.size()), length));
      }
    }
  }
  return file;
}

TEST(PictureFuzz, TheCorpusItselfIsDecoded) {
  for (const std::string& file : fuzz::picture_corpus(kJpegs)) {
    EXPECT_EQ(fuzz::what_is_wrong(file), "");
    EXPECT_EQ(fuzz::decode(file, 0).error, "") << as_utf8(file.substr(0, 20));
  }
}

TEST(PictureFuzz, DamagedFilesAreDecodedOrRefused) {
  constexpr int kRounds = 500;  // of each file
  const std::vector<std::string> files = fuzz::picture_corpus(kJpegs);
  int decoded = 0, refused = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    Draws draws(i);
    for (int round = 0; round < kRounds; ++round) {
      std::string file = damaged(files[i], files, draws);
      if (round % 4 != 0) file = fuzz::with_checksums(file);
      ASSERT_EQ(fuzz::what_is_wrong(file), "") << "file " << i << ", round " << round;
      ++(fuzz::decode(file, 0).picture ? decoded : refused);
    }
  }
  EXPECT_GT(decoded, 500);  // the damage is neither harmless nor always seen at once
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace stagewise
