#include "search/run/interrupt.h"

#include <signal.h>
#include <unistd.h>

namespace stagewise {

namespace {

volatile sig_atomic_t interrupt_requested = 0;

extern "C" void on_signal(int) {
  if (interrupt_requested != 0) _exit(130);
  interrupt_requested = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void request_interrupt(bool requested) { interrupt_requested = requested ? 1 : 0; }

bool is_interrupted() { return interrupt_requested != 0; }

void stop_if_interrupted() {
  if (is_interrupted()) throw Interrupted();
}

}  // namespace stagewise
