// journal.jsonl, as reports read it and as a run that goes on cuts it: behind the first two bytes, which are the length
// that a checkpoint remembers.
#include "search/run/journal.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "search/report/finished_run.h"
#include "search/report/run_story.h"
#include "tensor/atomic_file.h"
#include "tests/fuzz/fuzzer.h"

namespace stagewise::fuzz {

namespace {

/// It is refused, or told; in JSON that is UTF-8.
void check_story(std::string_view contents) {
  const auto events = read_or_refused([&] { return parse_journal(contents, "FILE"); });
  if (!events) return;
  read_or_refused([&] { return finished_run_in(*events, "FILE", Architecture::of_depths({1, 1})); });
  const auto story = read_or_refused([&] { return run_story(*events); });
  if (story) must(!story->dump().empty(), "an empty story");
}

/// It is refused, or goes on behind its first `keep` bytes.
void check_going_on(std::string_view contents, std::int64_t keep) {
  const int file = memfd_create("journal", MFD_CLOEXEC);
  must(write(file, contents.data(), contents.size()) == std::ssize(contents), "no memory for a file");
  const std::string path = concat("/proc/self/fd/", file);
  const bool fits = keep >= 0 && keep <= std::ssize(contents);
  const auto goes_on = read_or_refused([&] {
    Journal(path, keep).write({{"event", "stop"}});
    return true;
  });
  must(goes_on.has_value() == fits, "refused a journal that fits, or took one that doesn't");
  if (goes_on) {
    const std::string expected =
        std::string(contents.substr(0, static_cast<std::size_t>(keep))) + "{\"event\":\"stop\"}\n";
    must(read_file(path) == expected, "a journal that was not cut where it should be");
  }
  close(file);
}

}  // namespace

void check(std::string_view bytes) {
  std::int16_t keep = 0;
  if (bytes.size() < sizeof keep) return;
  std::memcpy(&keep, bytes.data(), sizeof keep);
  check_story(bytes.substr(sizeof keep));
  check_going_on(bytes.substr(sizeof keep), keep);
}

}  // namespace stagewise::fuzz
