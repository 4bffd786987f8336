// Architectures as JSON: refused, or a network that can be costed, and the same when it is written and read again.
#include "layers/architecture.h"

#include "layers/cost.h"
#include "tests/fuzz/fuzzer.h"

namespace stagewise::fuzz {

void check(std::string_view bytes) {
  const auto read = read_or_refused([&] { return Architecture::from_json(std::string(bytes)); });
  if (!read) return;
  must(Architecture::from_json(read->to_json()) == *read, "another one when it is written and read again");
  const Cost cost = cost_of(*read).total();
  must(cost.parameters() > 0 && cost.macs > 0, "a network that costs nothing");
}

}  // namespace stagewise::fuzz
