#include "search/run/interrupt.h"

#include <signal.h>
#include <unistd.h>

namespace stagewise {

namespace {

volatile sig_atomic_t interrupt_requested = 0;
volatile sig_atomic_t asked_by_hand = 0;

extern "C" void on_signal(int signal) {
  interrupt_requested = 1;
  // A terminal that closes sends SIGHUP twice, its shell once and the system once: nobody's impatience, and no first
  // word either, for of two signals that wait the system delivers the one of the lower number first.
  if (signal == SIGHUP) return;
  if (asked_by_hand != 0) _exit(130);
  asked_by_hand = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);
  }
}

void request_interrupt(bool requested) {
  interrupt_requested = requested ? 1 : 0;
  asked_by_hand = 0;
}

bool is_interrupted() { return interrupt_requested != 0; }

void stop_if_interrupted() {
  if (is_interrupted()) throw Interrupted();
}

}  // namespace stagewise
