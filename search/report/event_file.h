// TensorBoard's event files, which take so little that no library is needed. A file is a row of records
// (tensorflow/core/lib/io/record_writer.h): a length, the bytes, and checksums of both. The bytes are an `Event`
// (tensorflow/core/util/event.proto) in protocol buffers' wire format (protobuf.dev/programming-guides/encoding).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace stagewise {

/// CRC-32C, Castagnoli's polynomial (RFC 3720, section 12.1).
std::uint32_t crc32c(std::string_view bytes);

/// The record that every event file begins with. `wall_time` is in seconds since 1970, here and below.
std::string event_file_header(double wall_time);

/// A record with one number: a point at `step` on the chart named `tag`.
std::string scalar_event(double wall_time, std::int64_t step, const std::string& tag, double value);

/// A record with one picture, the bytes of a PNG file of 1 or 3 channels.
std::string image_event(double wall_time, std::int64_t step, const std::string& tag, std::int64_t height,
                        std::int64_t width, std::int64_t channels, std::string_view png);

}  // namespace stagewise
