#pragma once

namespace stagewise {

/// Whether a sanitizer looks on: its shadow memory is terabytes, so no limit on memory can be set, and no use measured.
#ifdef STAGEWISE_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

}  // namespace stagewise
