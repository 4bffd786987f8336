#include "fat_binary.h"

#include <fatbinary_section.h>

#include <cstdint>
#include <cstring>

#include "runtime.h"

namespace softgpu {
namespace {

// Found by looking at nvcc 13's output: a header, then entries one behind the other, each with a header of its own.
struct ImageHeader {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t header_bytes;
  std::uint64_t bytes;  // behind the header
};
constexpr std::uint32_t image_magic = 0xba55ed50;

struct EntryHeader {
  std::uint16_t kind;
  std::uint16_t version;
  std::uint32_t header_bytes;
  std::uint64_t bytes;  // behind the header
  std::uint32_t compressed_bytes;
  std::uint32_t options_offset;
  std::uint16_t minor, major;
  std::uint32_t architecture;
};
constexpr std::uint16_t ptx_kind = 1;

}  // namespace

std::string find_ptx(const void* wrapper, int compute_capability) {
  const auto* const control = static_cast<const __fatBinC_Wrapper_t*>(wrapper);
  const auto* at = reinterpret_cast<const std::uint8_t*>(control->data);
  ImageHeader image;
  std::memcpy(&image, at, sizeof image);
  if (control->magic != FATBINC_MAGIC || image.magic != image_magic) {
    throw DeviceError{cudaErrorInvalidKernelImage, "the program's fat binary has an unknown format"};
  }
  at += image.header_bytes;
  const std::uint8_t* const end = at + image.bytes;
  std::string best;
  int best_architecture = 0;
  bool compressed = false;
  while (at < end) {
    EntryHeader entry;
    std::memcpy(&entry, at, sizeof entry);
    const auto* const text = reinterpret_cast<const char*>(at + entry.header_bytes);
    at += entry.header_bytes + entry.bytes;
    if (entry.kind != ptx_kind) continue;
    if (entry.compressed_bytes != 0) {
      compressed = true;
      continue;
    }
    const int architecture = static_cast<int>(entry.architecture);
    const bool fits = architecture <= compute_capability;
    const bool best_fits = best_architecture <= compute_capability;
    if (best.empty() || (fits && (!best_fits || architecture > best_architecture)) ||
        (!fits && !best_fits && architecture < best_architecture)) {
      best.assign(text, strnlen(text, entry.bytes));
      best_architecture = architecture;
    }
  }
  if (best.empty()) {
    throw DeviceError{cudaErrorNoKernelImageForDevice,
                      compressed ? "the program's PTX is compressed: build it with nvcc -no-compress"
                                 : "the program holds no PTX: build it with -gencode arch=compute_90,code=compute_90"};
  }
  return best;
}

}  // namespace softgpu
