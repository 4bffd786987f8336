// Plan files: refused, or the same when they are written and read again.
#include "cuda/plan_file.h"
#include "tests/fuzz/fuzzer.h"

namespace stagewise::fuzz {

void check(std::string_view bytes) {
  const auto read = read_or_refused([&] { return PlanFile::from_json(bytes, "plans"); });
  if (!read) return;
  must(PlanFile::from_json(read->to_json(), "plans") == *read, "another one when it is written and read again");
}

}  // namespace stagewise::fuzz
