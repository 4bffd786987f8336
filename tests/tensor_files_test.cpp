// The files that tensors are kept in: safetensors, also such as lie, and files that appear whole or not at all.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <csignal>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "tensor/atomic_file.h"
#include "tensor/safetensors.h"
#include "tensor/text.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

TEST(Text, Utf8IsToldFromOtherBytes) {
  for (const std::string text :
       {"", "plain\n", "caf\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x90\x8C", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(is_utf8(text)) << text;
    EXPECT_EQ(as_utf8(text), text);
    EXPECT_EQ(std::string(Error(text).what()), text);
  }
  // Cut short, alone, too long a form, a surrogate, beyond U+10FFFF, and what never occurs.
  for (const std::string text : {"\xC3", "\xA9", "\xE2\x82", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF",
                                 "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3\xC3\xA9"}) {
    EXPECT_FALSE(is_utf8(text));
    EXPECT_TRUE(is_utf8(as_utf8(text)));
    EXPECT_NO_THROW(nlohmann::json(as_utf8(text)).dump());
    EXPECT_THROW(nlohmann::json(text).dump(), nlohmann::json::exception);  // by another reader of UTF-8
  }
  EXPECT_EQ(as_utf8("a\xE9\nz"), "a\\xE9\nz");
  EXPECT_EQ(printable("a\xE9\nz\x7F"), "a\\xE9\\x0Az\\x7F");
}

class SafetensorsFiles : public testing::Test {
 protected:
  /// A file by its format's definition: eight bytes of length, the header, the data.
  static std::string file_of(const std::string& header, const std::string& data) {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>((header.size() >> (8 * i)) & 0xff);
    return bytes + header + data;
  }
  static Safetensors example() {
    Safetensors file;
    file.metadata = {{"blocks", "6,8,6"}, {"note", "\"quoted\" \xC3\xA9"}};
    file.tensors["z/bytes"] = {DType::uint8, {3}, {1, 2, 255}};
    file.tensors["whole"] = {DType::int32, {1, 2}, {1, 0, 0, 0, 255, 255, 255, 255}};
    file.tensors["empty"] = {DType::float64, {0, 4}, {}};
    file.tensors["scalar"] = {DType::float64, {}, std::vector<unsigned char>(8, 7)};
    return file;
  }
  static void expect_equal(const Safetensors& a, const Safetensors& b) {
    EXPECT_EQ(a.metadata, b.metadata);
    ASSERT_EQ(a.tensors.size(), b.tensors.size());
    for (const auto& [name, entry] : a.tensors) {
      const SafetensorsEntry& other = b.tensors.at(name);
      EXPECT_EQ(entry.dtype, other.dtype) << name;
      EXPECT_EQ(entry.shape, other.shape) << name;
      EXPECT_EQ(entry.bytes, other.bytes) << name;
    }
  }
  std::string error_of(const std::string& contents) const {
    folder_.write("lie.safetensors", contents);
    return message_of([&] { read_safetensors(folder_.path("lie.safetensors")); });
  }

  TemporaryFolder folder_;
};

TEST_F(SafetensorsFiles, ComeBackAsTheyWereWritten) {
  const std::string path = folder_.path("file.safetensors");
  write_safetensors(path, example());
  expect_equal(read_safetensors(path), example());
  write_safetensors(path, {});
  expect_equal(read_safetensors(path), {});
  EXPECT_EQ(folder_.entries(), 1);
}

TEST_F(SafetensorsFiles, AreWrittenAsTheFormatSays) {
  write_safetensors(folder_.path("file.safetensors"), example());
  const std::string bytes = folder_.read("file.safetensors");
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i)
    length = length * 256 + static_cast<unsigned char>(bytes.at(static_cast<std::size_t>(i)));
  EXPECT_EQ(length % 8, 0U);
  const auto header = nlohmann::json::parse(bytes.substr(8, length));
  EXPECT_EQ(header.at("__metadata__").at("blocks"), "6,8,6");
  EXPECT_EQ(header.at("whole").at("dtype"), "I32");
  EXPECT_EQ(header.at("whole").at("shape"), (std::vector<int>{1, 2}));
  EXPECT_EQ(header.at("scalar").at("shape"), nlohmann::json::array());
  const auto begin = header.at("z/bytes").at("data_offsets").at(0).get<std::size_t>();
  EXPECT_EQ(bytes.substr(8 + length + begin, 3), "\x01\x02\xff");
  EXPECT_EQ(bytes.size(), 8 + length + 19);
}

TEST_F(SafetensorsFiles, AreReadByteByByte) {
  const std::string header = R"( {"b":{"shape":[],"dtype":"U8","data_offsets":[8,9]},)"
                             R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"__metadata__":{"k":"v"}}  )";
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\xc0\x2a", 9);
  const Safetensors file = read_safetensors(folder_.write("hand.safetensors", file_of(header, data)));
  const SafetensorsEntry& a = file.tensors.at("a");
  EXPECT_EQ(a.shape, (Shape{1, 2}));
  std::array<float, 2> values{};
  ASSERT_EQ(a.bytes.size(), sizeof values);
  std::memcpy(values.data(), a.bytes.data(), sizeof values);
  EXPECT_EQ(values, (std::array<float, 2>{1.0F, -2.0F}));
  EXPECT_EQ(file.tensors.at("b").bytes, std::vector<unsigned char>{42});
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"k", "v"}}));
}

TEST_F(SafetensorsFiles, ThatLieAreRefusedByName) {
  const auto one = [](const std::string& type, const std::string& shape, const std::string& range) {
    return R"({"a":{"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + range + "}}";
  };
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  const std::string sound = file_of(one("F32", "[2]", "[0,8]"), "12345678"), huge = "9223372036854775807";
  ASSERT_EQ(error_of(sound), "no error");
  ASSERT_EQ(error_of(file_of(two("[0,4]", "[4,8]"), "12345678")), "no error");
  const std::pair<const char*, std::string> lies[] = {
      {"nothing at all", ""},
      {"half a length", "\x10"},
      {"a header beyond the file", sound.substr(0, 30)},
      {"a header of 2^64-1 bytes", std::string(8, '\xff') + "{}"},
      {"data cut short", sound.substr(0, sound.size() - 1)},
      {"data that belong to nobody", sound + "9"},
      {"no JSON", file_of("{\"a\":", "")},
      {"no UTF-8", file_of("{\"\xff\":{}}", "")},
      {"no object", file_of("[1,2]", "")},
      {"endless nesting", file_of(std::string(100'000, '['), "")},
      {"a tensor that is no object", file_of(R"({"a":3})", "")},
      {"two of a name", file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                                "1")},
      {"metadata of numbers", file_of(R"({"__metadata__":{"k":1}})", "")},
      {"no offsets", file_of(R"({"a":{"dtype":"U8","shape":[1]}})", "1")},
      {"no shape", file_of(R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", "1")},
      {"one offset", file_of(one("U8", "[1]", "[1]"), "1")},
      {"offsets below 0", file_of(one("U8", "[2]", "[-1,1]"), "1")},
      {"offsets that are fractions", file_of(one("U8", "[1]", "[0.0,1.0]"), "1")},
      {"offsets backwards", file_of(one("U8", "[0]", "[1,0]"), "1")},
      {"offsets beyond the file", file_of(one("U8", "[9]", "[0,9]"), "12345678")},
      {"offsets of 2^64-1", file_of(one("U8", "[1]", "[18446744073709551615,18446744073709551615]"), "1")},
      {"an overlap", file_of(two("[0,4]", "[3,7]"), "1234567")},
      {"the same bytes twice", file_of(two("[0,4]", "[0,4]"), "1234")},
      {"a gap", file_of(two("[0,4]", "[5,9]"), "123456789")},
      {"a gap at the start", file_of(one("U8", "[4]", "[1,5]"), "12345")},
      {"fewer bytes than the shape", file_of(one("F32", "[3]", "[0,8]"), "12345678")},
      {"more bytes than the shape", file_of(one("F32", "[1]", "[0,8]"), "12345678")},
      {"half an element", file_of(one("F32", "[1]", "[0,6]"), "123456")},
      {"a shape of 2^63-1 elements", file_of(one("F32", "[" + huge + "]", "[0,8]"), "12345678")},
      {"a shape whose bytes wrap round to 8", file_of(one("F64", "[2305843009213693953]", "[0,8]"), "12345678")},
      {"a shape that overflows", file_of(one("U8", "[" + huge + "," + huge + "]", "[0,1]"), "1")},
      {"a shape of 2^64 elements", file_of(one("U8", "[4294967296,4294967296]", "[0,0]"), "")},
      {"a size below 0", file_of(one("U8", "[-1,-1]", "[0,1]"), "1")},
      {"five sizes", file_of(one("U8", "[1,1,1,1,1]", "[0,1]"), "1")},
      {"a shape that is a number", file_of(one("U8", "1", "[0,1]"), "1")},
      {"a type that is none", file_of(one("BF17", "[1]", "[0,2]"), "12")},
      {"half a bfloat16", file_of(one("BF16", "[1]", "[0,1]"), "1")},
      {"an I64 of 4 bytes", file_of(one("I64", "[1]", "[0,4]"), "1234")},
      {"a type in lower case", file_of(one("f32", "[1]", "[0,4]"), "1234")},
  };
  for (const auto& [lie, contents] : lies) {
    const std::string error = error_of(contents);
    EXPECT_TRUE(contains(error, folder_.path("lie.safetensors"))) << lie;
  }
  EXPECT_TRUE(contains(message_of([&] { read_safetensors(folder_.path("absent")); }), folder_.path("absent")));
  EXPECT_TRUE(contains(error_of(file_of(one("BF17", "[1]", "[0,2]"), "12")), "BF17"));
}

// Bit patterns and values from IEEE 754's binary16 and from bfloat16's definition, a float's upper half.
TEST_F(SafetensorsFiles, HalfFloatsComeAsTheFloatsThatTheyAre) {
  const auto read = [&](const std::string& type, const std::vector<std::uint16_t>& bits) {
    const std::string header = concat(R"({"a":{"dtype":")", type, R"(","shape":[)", bits.size(),
                                      R"(],"data_offsets":[0,)", 2 * bits.size(), "]}}");
    const std::string data(reinterpret_cast<const char*>(bits.data()), 2 * bits.size());
    const SafetensorsEntry a = read_safetensors(folder_.write("half.safetensors", file_of(header, data))).tensors["a"];
    EXPECT_EQ(a.dtype, DType::float32);
    EXPECT_EQ(a.shape, (Shape{static_cast<std::int64_t>(bits.size())}));
    std::vector<float> values(bits.size());
    EXPECT_EQ(a.bytes.size(), 4 * bits.size());
    std::memcpy(values.data(), a.bytes.data(), std::min(a.bytes.size(), 4 * values.size()));
    return values;
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(read("F16", {0x3C00, 0xC000, 0x3555, 0x7BFF, 0x0400, 0x03FF, 0x0001, 0x8001, 0x0000, 0x7C00, 0xFC00}),
            (std::vector<float>{1.0F, -2.0F, 0x1.554p-2F, 65504.0F, 0x1p-14F, 0x1.FF8p-15F, 0x1p-24F, -0x1p-24F, 0.0F,
                                kInfinity, -kInfinity}));
  EXPECT_EQ(read("BF16", {0x3F80, 0xC000, 0x3EAB, 0x7F7F, 0x0001, 0x7F80}),
            (std::vector<float>{1.0F, -2.0F, 0x1.56p-2F, 0x1.FEp127F, 0x1p-133F, kInfinity}));
  EXPECT_TRUE(std::isnan(read("F16", {0x7C01}).front()) && std::isnan(read("BF16", {0x7F81}).front()));
  EXPECT_TRUE(std::signbit(read("F16", {0x8000}).front()));
}

TEST_F(SafetensorsFiles, TensorsOfATypeThatWeLackAreNamed) {
  const std::string header = R"({"count":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
                             R"("a":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}})";
  const Safetensors file = read_safetensors(folder_.write("count.safetensors", file_of(header, "12345678*")));
  EXPECT_EQ(file.unread, (std::map<std::string, std::string>{{"count", "I64"}}));
  EXPECT_EQ(file.tensors.size(), 1U);
}

TEST_F(SafetensorsFiles, BFloat16IsNotWritten) {
  Safetensors file;
  file.tensors["a"] = {DType::bfloat16, {1}, {0, 0}};
  EXPECT_TRUE(contains(message_of([&] { write_safetensors(folder_.path("file"), file); }), "bfloat16"));
}

TEST_F(SafetensorsFiles, EntriesThatDoNotFitTheirShapeAreNotWritten) {
  Safetensors file = example();
  file.tensors["scalar"].bytes.pop_back();
  EXPECT_TRUE(contains(message_of([&] { write_safetensors(folder_.path("file"), file); }), "'scalar'"));
  file = example();
  file.metadata["k"] = "\xff";
  EXPECT_TRUE(contains(message_of([&] { write_safetensors(folder_.path("file"), file); }), "UTF-8"));
  EXPECT_EQ(folder_.entries(), 0);
}

TEST_F(SafetensorsFiles, SurviveCorruption) {
  write_safetensors(folder_.path("sound.safetensors"), example());
  const std::string sound = folder_.read("sound.safetensors");
  std::mt19937 random(11);  // NOLINT(cert-msc51-cpp): the same corruptions in every run
  const std::size_t data_bytes = 19;
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    std::string corrupt = sound;
    const std::size_t place = random() % sound.size();
    corrupt[place] = static_cast<char>(corrupt[place] ^ (1 + random() % 255));
    const std::string error = error_of(corrupt);  // any other exception, or a crash, ends the test
    refused += error != "no error" ? 1 : 0;
    if (place >= sound.size() - data_bytes) {
      EXPECT_EQ(error, "no error") << "data may be anything";
    }
    if (place < 8) {
      EXPECT_NE(error, "no error") << "byte " << place << " of the length";
    }
  }
  EXPECT_GT(refused, 200);
  for (std::size_t length = 0; length < sound.size(); ++length) {
    EXPECT_NE(error_of(sound.substr(0, length)), "no error") << "cut to " << length << " bytes";
  }
}

TEST(ReleasedModel, IsReadable) {
  const char* const shared = std::getenv("STAGEWISE_SHARED");
  const std::string path = std::string(shared != nullptr ? shared : STAGEWISE_SOURCE_DIR "/../shared") +
                           "/reference/released/iteration1.safetensors";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "the shared data are not here: no " << path;
  const Safetensors file = read_safetensors(path);
  EXPECT_EQ(file.metadata.at("blocks"), "6,8,6");
  EXPECT_EQ(file.tensors.at("classifier.weight").shape, (Shape{10, 64}));
  EXPECT_EQ(file.tensors.at("classifier.weight").dtype, DType::float32);
}

TEST(AtomicFiles, HoldWhatWasWrittenAndReplaceWhatWasThere) {
  const TemporaryFolder folder;
  const std::string path = folder.path("file"), binary("a\0\xff\n", 4);
  write_file_atomically(path, binary);
  EXPECT_EQ(folder.read("file"), binary);
  EXPECT_EQ(read_file(path), binary);
  write_file_atomically(path, "");
  EXPECT_EQ(read_file(path), "");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(AtomicFiles, AppearOnlyWhenCommitted) {
  const TemporaryFolder folder;
  const std::string path = folder.write("file", "old");
  {
    AtomicFile abandoned(path);
    abandoned.write("new", 3);
    EXPECT_EQ(folder.read("file"), "old");
  }
  EXPECT_EQ(folder.read("file"), "old");
  EXPECT_EQ(folder.entries(), 1);
  AtomicFile file(path);
  file.write("ne", 2);
  file.write("wer", 3);
  file.commit();
  EXPECT_EQ(folder.read("file"), "newer");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(AtomicFiles, HoldPiecesOfAnySizeInTheirOrder) {
  const TemporaryFolder folder;
  std::string expected;
  AtomicFile file(folder.path("file"));
  for (const std::size_t size : {3U, 65'535U, 1U, 65'536U, 0U, 200'000U, 5U, 65'530U, 7U}) {
    const std::string piece(size, static_cast<char>('a' + expected.size() % 26));
    file.write(piece.data(), piece.size());
    expected += piece;
  }
  file.commit();
  EXPECT_EQ(folder.read("file"), expected);
}

TEST(AtomicFiles, LeftoversOfKilledWritersAreRemovedAndNothingElse) {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    AtomicFile file(folder.path("killed"));
    file.write("half", 4);
    kill(getpid(), SIGKILL);
  }
  waitpid(child, nullptr, 0);
  ASSERT_EQ(folder.entries(), 1);
  AtomicFile living(folder.path("living"));
  const std::vector<std::string> foreign = {"a.partial-1",  "a.partial-1-", "a.partial-1-2x", "a.partial--2",
                                            ".partial-1-2", "partial-1-2",  "a.partial-x-2"};
  for (const std::string& name : foreign) folder.write(name, "");
  for (const std::string& name : foreign) EXPECT_FALSE(is_partial_name(name)) << name;
  std::filesystem::create_directories(folder.path("folder.partial-1-2"));
  EXPECT_TRUE(is_partial_name("a.partial-b.partial-1-2"));
  remove_partial_files(folder.path());
  EXPECT_EQ(folder.entries(), static_cast<std::ptrdiff_t>(foreign.size()) + 2);
  living.commit();
  EXPECT_EQ(folder.read("living"), "");
  remove_partial_files(folder.path("nowhere"));
}

TEST(AtomicFiles, SayWhereTheyCouldNotBeWrittenOrRead) {
  const TemporaryFolder folder;
  const std::string missing = folder.path("no/such/file");
  EXPECT_TRUE(contains(message_of([&] { write_file_atomically(missing, "x"); }), missing));
  EXPECT_TRUE(contains(message_of([&] { read_file(missing); }), missing));
  EXPECT_TRUE(contains(message_of([&] { read_file(folder.path()); }), folder.path()));
  EXPECT_EQ(folder.entries(), 0);
  std::filesystem::create_directory(folder.path("folder"));
  EXPECT_TRUE(contains(message_of([&] { write_file_atomically(folder.path("folder"), "x"); }), folder.path("folder")));
  EXPECT_EQ(folder.entries(), 1);
}

/// Lets no file of the process grow beyond `bytes`: to a write it is as if the disk were full.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST(AtomicFiles, LeaveTheOldFileWhenThereIsNoRoom) {
  const TemporaryFolder folder;
  const std::string path = folder.write("file", "old");
  std::string error, tensors_error;
  {
    const FileSizeLimit limit(4096);
    error = message_of([&] { write_file_atomically(path, std::string(10'000, 'x')); });
    Safetensors large;
    large.tensors["a"] = {DType::uint8, {10'000}, std::vector<unsigned char>(10'000)};
    tensors_error = message_of([&] { write_safetensors(path, large); });
  }
  EXPECT_TRUE(contains(error, path));
  EXPECT_TRUE(contains(error, "File too large"));
  EXPECT_TRUE(contains(tensors_error, path));
  EXPECT_EQ(folder.read("file"), "old");
  EXPECT_EQ(folder.entries(), 1);
}

}  // namespace
}  // namespace stagewise
