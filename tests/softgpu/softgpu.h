// What the software GPU's libcudart offers to its libcudnn and libcurand (and to tests): work that runs on the host
// but behaves like a kernel. It is queued on a stream, runs when something waits for it, and is checked like one.
//
// Device addresses are not host addresses: nothing is mapped where they point, so host code that follows one faults.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Queues `work(argument)` on `stream` (a cudaStream_t; null is the legacy default stream), as a launch would be. It
/// runs later, on whichever host thread waits: once, or, where `stream` is being captured, each time that the graph is
/// launched. When it can't run any more, `destroy(argument)` is called. `name` stands in for a kernel's in messages.
void softgpu_enqueue(void* stream, const char* name, void (*work)(void*), void* argument, void (*destroy)(void*));

/// The host address behind [device_pointer, device_pointer + bytes), for work that is running. A read (`write` = 0) of
/// bytes that nothing has written, and any access outside one living allocation, is reported, becomes the sticky
/// cudaErrorIllegalAddress, and gives null. A write marks the bytes as initialised. Accesses are compared with those of
/// kernels and copies that aren't ordered with this work, as theirs are with each other. Pinned host memory translates
/// to itself. Zero bytes of a valid address are fine.
void* softgpu_translate(const void* device_pointer, size_t bytes, int write);

/// Prints `what` with the running work's name, and makes cudaErrorLaunchFailure the sticky error.
void softgpu_report(const char* what);

/// What is wrong on this device so far: a cudaError_t, 0 where nothing is.
int softgpu_error(void);

/// Forgets the sticky error, as no CUDA call can: for tests that provoke one after another.
void softgpu_forget_error(void);

/// Prints every allocation that is still alive, with where it came from, and returns how many there are.
int softgpu_report_leaks(void);

/// The order of threads and blocks from here on: "forward", "reverse" or "random:SEED", as in SOFTGPU_ORDER.
/// Returns 0, or 1 where it can't be read.
int softgpu_set_order(const char* order);

/// After `before` more calls of `call`, the next `times` fail as they do for want of memory, or because the capture was
/// broken: cudaMallocAsync, cudaStreamBeginCapture, cudaStreamEndCapture, cudaGraphInstantiate, cudaGraphLaunch, or
/// `captured launch`, a kernel's into a capture. Returns 0, or 1 for a call that can't be made to fail.
int softgpu_fail(const char* call, int before, int times);

/// The bytes of device memory from here on, as SOFTGPU_MEMORY has them in MiB; what is taken stays.
void softgpu_set_memory(uint64_t bytes);

/// Whether the same work shall give the same bits whatever the order, as SOFTGPU_BITS asks for: then a kernel that adds
/// floats by atomics is reported when it runs.
void softgpu_promise_bits(int promised);

/// The last report's text, "" where there is none. Valid until the next report.
const char* softgpu_last_report(void);

/// Work since softgpu_count_traffic(1), and the bytes of device memory that it touched: each four bytes once a work.
typedef struct {
  uint64_t works, bytes_read, bytes_written;
} softgpu_traffic;
void softgpu_count_traffic(int on);
/// Of the work whose name contains `part`; "": of all.
softgpu_traffic softgpu_counted(const char* part);
/// A line for each name, the most bytes first.
void softgpu_print_traffic(void);

/// Thread-instructions executed so far, over all launches.
uint64_t softgpu_instructions(void);

#ifdef __cplusplus
}
#endif
