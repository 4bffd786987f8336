// What a GPU does at its best, for whole steps and single calls to be read against.
#pragma once

#include "bench/machine.h"
#include "tensor/backend.h"

namespace stagewise::bench {

/// Bytes a second of copying 256 MiB on the device, read and written both counted: the median of nine tries. No
/// arithmetic.
Roof copy_roof(Backend& gpu);

}  // namespace stagewise::bench
