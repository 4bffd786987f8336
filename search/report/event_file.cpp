#include "search/report/event_file.h"

#include <array>
#include <bit>

namespace stagewise {

namespace {

/// The number's bytes, the lowest first, whatever the machine's order.
template <class Unsigned>
std::string little_endian(Unsigned value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof value; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFFU);
  return bytes;
}

/// What follows a field's key on the wire.
enum class Wire : std::uint32_t { varint = 0, fixed64 = 1, delimited = 2, fixed32 = 5 };

/// Seven bits a byte, the lowest first; the eighth says that more follow.
std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80U; value >>= 7U) bytes += static_cast<char>((value & 0x7FU) | 0x80U);
  return bytes + static_cast<char>(value);
}

std::string key(std::uint32_t field, Wire wire) { return varint(field << 3U | static_cast<std::uint32_t>(wire)); }

std::string field_of(std::uint32_t field, std::int64_t value) {
  return key(field, Wire::varint) + varint(static_cast<std::uint64_t>(value));
}

std::string field_of(std::uint32_t field, double value) {
  return key(field, Wire::fixed64) + little_endian(std::bit_cast<std::uint64_t>(value));
}

std::string field_of(std::uint32_t field, float value) {
  return key(field, Wire::fixed32) + little_endian(std::bit_cast<std::uint32_t>(value));
}

/// A text, bytes, or another message.
std::string field_of(std::uint32_t field, std::string_view bytes) {
  return key(field, Wire::delimited) + varint(bytes.size()) + std::string(bytes);
}

/// The format's own: a checksum of bytes that hold their checksum would say nothing.
std::uint32_t masked(std::uint32_t crc) { return std::rotr(crc, 15) + 0xA282EAD8U; }

std::string record(std::string_view bytes) {
  const std::string length = little_endian(std::uint64_t{bytes.size()});
  return length + little_endian(masked(crc32c(length))) + std::string(bytes) + little_endian(masked(crc32c(bytes)));
}

// The numbers of the fields are event.proto's, and those of tensorflow/core/framework/summary.proto.

/// An Event that holds a Summary of one Value: its tag, and `value`, the field with what there is to show.
std::string event(double wall_time, std::int64_t step, std::string_view tag, const std::string& value) {
  const std::string summary = field_of(1, field_of(1, tag) + value);
  return record(field_of(1, wall_time) + field_of(2, step) + field_of(5, summary));
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = [] {
    std::array<std::uint32_t, 256> table = {};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? crc >> 1U ^ 0x82F63B78U : crc >> 1U;
      table[i] = crc;
    }
    return table;
  }();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) crc = crc >> 8U ^ kTable[(crc ^ static_cast<std::uint8_t>(byte)) & 0xFFU];
  return ~crc;
}

std::string event_file_header(double wall_time) {
  return record(field_of(1, wall_time) + field_of(3, std::string_view("brain.Event:2")));
}

std::string scalar_event(double wall_time, std::int64_t step, const std::string& tag, double value) {
  return event(wall_time, step, tag, field_of(2, static_cast<float>(value)));
}

std::string image_event(double wall_time, std::int64_t step, const std::string& tag, std::int64_t height,
                        std::int64_t width, std::int64_t channels, std::string_view png) {
  const std::string image = field_of(1, height) + field_of(2, width) + field_of(3, channels) + field_of(4, png);
  return event(wall_time, step, tag, field_of(4, std::string_view(image)));
}

}  // namespace stagewise
