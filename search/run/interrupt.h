// Ctrl-C, the system's request to end and a terminal that closes, turned into a flag that is looked at between two
// batches.
#pragma once

#include <stdexcept>

namespace stagewise {

/// The person asked to stop. What was saved last is whole.
class Interrupted : public std::runtime_error {
 public:
  Interrupted() : std::runtime_error("interrupted") {}
};

/// From now on SIGINT, SIGTERM and SIGHUP set the flag, and the second SIGINT or SIGTERM ends the process at once with
/// exit code 130. One that was ignored when the process began (nohup, trap '' INT) stays ignored.
void catch_interrupts();
/// Sets and clears the flag by hand.
void request_interrupt(bool requested = true);
bool is_interrupted();
/// Throws Interrupted when the flag is set.
void stop_if_interrupted();

}  // namespace stagewise
