#include "search/run/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "search/run/terminal.h"
#include "search/run/text.h"

namespace stagewise {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kPlainLine = std::chrono::seconds(30);

constexpr std::size_t kWidest = 100;  // columns

/// `text`, cut to the terminal's width: a line that wraps can't be drawn over.
std::string fitted(const std::string& text) {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return text.substr(0, kWidest);
  return text.substr(0, std::min<std::size_t>(size.ws_col - 1U, kWidest));
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

Progress::Progress(bool quiet)
    : quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0), last_status_(Clock::now()), pass_began_(Clock::now()) {}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

void Progress::line(const std::string& text) {
  if (quiet_) return;
  clear();
  std::fprintf(stderr, "%s\n", painted(text, STDERR_FILENO).c_str());
  std::fflush(stderr);
}

void Progress::status(const std::string& text) {
  if (quiet_ || Clock::now() - last_status_ < (terminal_ ? Clock::duration(kRedraw) : Clock::duration(kPlainLine))) {
    return;
  }
  last_status_ = Clock::now();
  if (!terminal_) return line(text);
  std::fprintf(stderr, "\r\033[K%s", fitted(text).c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::pass(const std::string& what, const PassProgress& progress, const std::string& left) {
  if (what != pass_) {
    pass_ = what;
    pass_began_ = Clock::now();
  }
  std::string text =
      what + "  " + with_thousands(progress.images_done) + " of " + with_thousands(progress.images_total);
  const double seconds = seconds_since(pass_began_);
  if (seconds > 0.5) {
    text += "  " + with_thousands(static_cast<std::int64_t>(static_cast<double>(progress.images_done) / seconds)) +
            " images/s";
  }
  if (progress.has_totals) text += "  loss " + fixed(progress.loss, 3) + "  accuracy " + percent(progress.accuracy);
  if (!left.empty()) text += "  " + left;
  status(text);
}

ProgressCallback Progress::counts() {
  return [this, before = std::string(), began = Clock::now(), first = std::int64_t{0}](
             const std::string& what, std::int64_t done, std::int64_t total) mutable {
    if (what != before || done < first) {
      before = what;
      began = Clock::now();
      first = done;
    }
    std::string text = what + "  " + with_thousands(done) + " of " + with_thousands(total);
    const double seconds = seconds_since(began);
    if (seconds > 0.5 && done > first && done < total) {
      text +=
          "  " + duration(seconds * static_cast<double>(total - done) / static_cast<double>(done - first)) + " left";
    }
    status(text);
  };
}

DataListener Progress::listener() {
  return {.line = [this](const std::string& text) { line(text); }, .counts = counts()};
}

}  // namespace stagewise
