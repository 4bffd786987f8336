// The state in a checkpoint, as JSON: refused, or the same when it is written and read again.
#include "search/search_state.h"
#include "tests/fuzz/fuzzer.h"

namespace stagewise::fuzz {

void check(std::string_view bytes) {
  const auto read = read_or_refused([&] { return SearchState::from_json(std::string(bytes)); });
  if (!read) return;
  const std::string written = read->to_json();
  must(SearchState::from_json(written).to_json() == written, "another one when it is written and read again");
}

}  // namespace stagewise::fuzz
