// The safetensors file format: 8 bytes of header length, a JSON header, the tensors' bytes, little-endian.
// https://huggingface.co/docs/safetensors
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace stagewise {

struct SafetensorsEntry {
  DType dtype = DType::float32;
  Shape shape;
  std::vector<unsigned char> bytes;  // row-major, shape.count() * size_of(dtype)
};

struct Safetensors {
  std::map<std::string, SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;
  std::map<std::string, std::string> unread;  // names and types of the tensors whose type we can't hold, such as I64
};

/// Reads U8, I32, F32 and F64 as they are, F16 and BF16 as float32, which holds each of their values; tensors of the
/// format's other types are only named. Errors: throws Error, naming the file, when it can't be read, is truncated, or
/// its header lies: sizes that don't match shapes, ranges that overlap, leave gaps or reach beyond the file, types that
/// the format doesn't know.
Safetensors read_safetensors(const std::string& path);
/// The same of a file's contents; `path` is what errors call it.
Safetensors parse_safetensors(std::string_view contents, const std::string& path);

/// Writes through a temporary name, flushes it to the disk and renames it: the file is whole or not there at all.
/// Tensors follow each other in the order of their names. Errors: throws Error when an entry's bytes don't fit its
/// shape, and with the path and the system's reason when the disk is full or the folder is missing.
void write_safetensors(const std::string& path, const Safetensors& file);

}  // namespace stagewise
