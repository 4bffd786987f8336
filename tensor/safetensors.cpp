#include "tensor/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace stagewise {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr const char* kMetadata = "__metadata__";

/// An element type as the format spells it. What is read into another one holds each of its values.
struct FileType {
  const char* name;
  std::size_t bytes;
  std::optional<DType> read_as;  // none: named in `unread`
};
constexpr FileType kTypes[] = {{"U8", 1, DType::uint8},
                               {"I32", 4, DType::int32},
                               {"F32", 4, DType::float32},
                               {"F64", 8, DType::float64},
                               {"F16", 2, DType::float32},
                               {"BF16", 2, DType::float32},
                               {"BOOL", 1, {}},
                               {"I8", 1, {}},
                               {"I16", 2, {}},
                               {"U16", 2, {}},
                               {"U32", 4, {}},
                               {"I64", 8, {}},
                               {"U64", 8, {}},
                               {"F8_E4M3", 1, {}},
                               {"F8_E5M2", 1, {}}};

/// The JSON header of a file, its names checked to be unique: a JSON parser would quietly keep the last of equals.
json parse_header(std::string_view text) {
  std::vector<std::set<std::string>> names;  // of the objects that are open
  const auto check = [&names](int depth, json::parse_event_t event, json& parsed) {
    require(depth <= 3, "its header is nested too deeply");
    if (event == json::parse_event_t::object_start) names.emplace_back();
    if (event == json::parse_event_t::object_end) names.pop_back();
    if (event == json::parse_event_t::key) {
      require(names.back().insert(parsed.get<std::string>()).second, "its header has two entries named ",
              parsed.dump());
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::exception& error) {
    fail("its header is not JSON: ", error.what());
  }
}

std::uint64_t unsigned_integer(const json& value, const std::string& what) {
  require(value.is_number_unsigned() && value.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max(), what,
          ": expected whole numbers of at least 0, got ", value.dump());
  return value.get<std::uint64_t>();
}

const json& member(const json& object, const char* key, const std::string& what) {
  const auto found = object.find(key);
  require(found != object.end(), what, " has no ", key);
  return *found;
}

const FileType& parse_type(const json& value, const std::string& what) {
  std::string known;
  for (const FileType& type : kTypes) {
    if (value == type.name) return type;
    known += concat(known.empty() ? "" : ", ", type.name);
  }
  fail(what, ": expected a dtype of ", known, ", got ", value.dump());
}

Shape parse_shape(const json& value, const std::string& what) {
  require(value.is_array() && value.size() <= Shape::kMaxRank, what, ": expected a shape of at most ", Shape::kMaxRank,
          " sizes, got ", value.dump());
  std::vector<std::int64_t> sizes;
  for (const json& size : value) sizes.push_back(static_cast<std::int64_t>(unsigned_integer(size, what)));
  return Shape(std::span<const std::int64_t>(sizes));
}

struct Range {
  std::uint64_t begin, end;
  std::string what;
};

Range parse_range(const json& value, const std::string& what) {
  require(value.is_array() && value.size() == 2, what, ": expected two data_offsets, got ", value.dump());
  return {unsigned_integer(value[0], what), unsigned_integer(value[1], what), what};
}

/// Throws unless the ranges, sorted, cover the data once and wholly.
void check_cover(std::vector<Range> ranges, std::uint64_t size) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t covered = 0;
  for (const Range& range : ranges) {
    require(range.begin == covered, range.what, ": its data starts at byte ", range.begin, ", expected ", covered,
            range.begin < covered ? " (it overlaps another tensor's)" : " (bytes that belong to no tensor)");
    covered = range.end;
  }
  require(covered == size, "the tensors end at byte ", covered, " of the data, the file at byte ", size);
}

/// IEEE 754's binary16: a sign, 5 bits of exponent and 10 of fraction.
float float_of_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const auto fraction = static_cast<float>(bits & 1023);
  float size = std::ldexp(exponent == 0 ? fraction : 1024.0F + fraction, std::max(exponent, 1) - 25);
  if (exponent == 31) size = fraction == 0 ? HUGE_VALF : NAN;
  return bits >> 15 != 0 ? -size : size;
}

float float_of_bfloat16(std::uint16_t bits) { return static_cast<float>(std::bit_cast<BFloat16>(bits)); }

/// The bytes of the floats that two bytes each stand for.
std::vector<unsigned char> widened(std::string_view data, float (*float_of)(std::uint16_t)) {
  std::vector<unsigned char> bytes(2 * data.size());
  for (std::size_t i = 0; i < data.size(); i += 2) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, data.data() + i, sizeof bits);
    const float value = float_of(bits);
    std::memcpy(bytes.data() + 2 * i, &value, sizeof value);
  }
  return bytes;
}

/// One tensor into `file`. `data` is what follows the header.
void parse_entry(const std::string& name, const json& info, const Range& range, std::string_view data,
                 Safetensors& file) {
  const FileType& type = parse_type(member(info, "dtype", range.what), range.what);
  const Shape shape = parse_shape(member(info, "shape", range.what), range.what);
  require(range.begin <= range.end && range.end <= data.size(), range.what, ": data_offsets ", range.begin, " to ",
          range.end, " don't lie in the file, which has ", data.size(), " bytes of data");
  const std::uint64_t count = static_cast<std::uint64_t>(shape.count()), bytes = range.end - range.begin;
  require(bytes % type.bytes == 0 && bytes / type.bytes == count, range.what, ": expected ", count, " elements of ",
          type.bytes, " bytes for shape ", shape, ", got ", bytes, " bytes");
  if (!type.read_as) {
    file.unread.emplace(name, type.name);
    return;
  }
  SafetensorsEntry entry{.dtype = *type.read_as, .shape = shape, .bytes = {}};
  const std::string_view own = data.substr(range.begin, bytes);
  if (type.bytes == size_of(entry.dtype)) {
    entry.bytes.assign(own.begin(), own.end());
  } else {
    entry.bytes = widened(own, type.name == std::string_view("F16") ? float_of_half : float_of_bfloat16);
  }
  file.tensors.emplace(name, std::move(entry));
}

Safetensors parse(std::string_view contents) {
  std::uint64_t length = 0;
  require(contents.size() >= kLengthBytes, "expected at least ", kLengthBytes, " bytes, got ", contents.size());
  std::memcpy(&length, contents.data(), kLengthBytes);
  require(length <= kMaxHeaderBytes && length <= contents.size() - kLengthBytes, "expected a header of ", length,
          " bytes, got ", contents.size() - kLengthBytes, " bytes (the file is truncated or not safetensors)");
  const json header = parse_header(contents.substr(kLengthBytes, length));
  const std::string_view data = contents.substr(kLengthBytes + length);
  require(header.is_object(), "its header is not a JSON object");

  Safetensors file;
  std::vector<Range> ranges;
  for (const auto& [name, info] : header.items()) {
    const std::string what = concat("tensor '", name, "'");
    require(info.is_object(), name == kMetadata ? name : what, ": expected a JSON object, got ", info.type_name());
    if (name == kMetadata) {
      for (const auto& [key, value] : info.items()) {
        require(value.is_string(), kMetadata, " '", key, "': expected a string, got ", value.type_name());
        file.metadata.emplace(key, value.get<std::string>());
      }
      continue;
    }
    ranges.push_back(parse_range(member(info, "data_offsets", what), what));
    parse_entry(name, info, ranges.back(), data, file);
  }
  check_cover(std::move(ranges), data.size());
  return file;
}

const char* spelling_of(DType dtype) {
  for (const FileType& type : kTypes) {
    if (type.read_as == dtype && type.bytes == size_of(dtype)) return type.name;
  }
  fail("a tensor of ", name_of(dtype), " is not for files");
}

/// The header of a file, padded with spaces so that the data starts at a multiple of 8 bytes.
std::string header_of(const Safetensors& file) {
  json header = json::object();
  if (!file.metadata.empty()) header[kMetadata] = file.metadata;
  std::uint64_t offset = 0;
  for (const auto& [name, entry] : file.tensors) {
    const std::uint64_t expected = static_cast<std::uint64_t>(entry.shape.count()) * size_of(entry.dtype);
    require(name != kMetadata && entry.bytes.size() == expected, "tensor '", name, "': expected ", expected,
            " bytes for shape ", entry.shape, ", got ", entry.bytes.size());
    json sizes = json::array();
    for (int axis = 0; axis < entry.shape.rank(); ++axis) sizes.push_back(entry.shape[axis]);
    header[name] = {
        {"dtype", spelling_of(entry.dtype)}, {"shape", sizes}, {"data_offsets", {offset, offset + expected}}};
    offset += expected;
  }
  try {
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    return text;
  } catch (const json::exception& error) {
    fail("a name or a value of the metadata is not UTF-8: ", error.what());
  }
}

}  // namespace

Safetensors read_safetensors(const std::string& path) { return parse_safetensors(read_file(path), path); }

Safetensors parse_safetensors(std::string_view contents, const std::string& path) {
  try {
    return parse(contents);
  } catch (const Error& error) {
    fail("[safetensors] can't read ", path, ": ", error.what());
  }
}

void write_safetensors(const std::string& path, const Safetensors& file) {
  const std::string header = header_of(file);
  const std::uint64_t length = header.size();
  AtomicFile out(path);
  out.write(&length, kLengthBytes);
  out.write(header.data(), header.size());
  for (const auto& [name, entry] : file.tensors) out.write(entry.bytes.data(), entry.bytes.size());
  out.commit();
}

}  // namespace stagewise
