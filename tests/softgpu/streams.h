// Streams as a graph of work. Each piece of work knows what it must follow; nothing runs until something has to wait
// for it, and then only what it must follow runs. That order is legal, and as far from the order of the calls as a
// real device could be: whatever lacks a wait meets data that isn't there yet.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime.h"

namespace softgpu {

/// A vector clock: of each stream, how much of its work comes before. It decides whether two pieces of work are ordered
/// whatever the order they happened to run in (Lamport 1978, Mattern 1989).
using Clock = std::vector<std::uint32_t>;
void merge(Clock& into, const Clock& from);

struct Work {
  std::string name;
  std::function<void()> run;
  std::vector<std::shared_ptr<Work>> dependencies;
  bool done = false;
  double finished = 0;         // seconds, for cudaEventElapsedTime
  std::uint32_t stream = 0;    // index into clocks
  std::uint32_t sequence = 0;  // position in that stream, from 1
  Clock clock;                 // of this work: clock[stream] == sequence
};
using WorkPtr = std::shared_ptr<Work>;

/// A recorded node; the same type serves a graph being captured and one that is instantiated.
struct GraphNode {
  std::string kind;  // "kernel", "copy", ...; an update must find the same
  std::string name;
  std::function<void()> run;
  std::vector<int> dependencies;
};
struct Graph {
  std::vector<GraphNode> nodes;
};

/// A capture in progress; the streams it has spread to share it.
struct Capture {
  Graph graph;
  struct Stream* origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool invalid = false;
};

struct Stream {
  std::uint32_t index = 0;
  std::uint32_t issued = 0;
  bool blocking = true;  // waits for the legacy default stream and is waited for by it
  unsigned flags = 0;
  int priority = 0;
  WorkPtr tail;
  std::vector<WorkPtr> waits;  // for events: what the next piece of work must follow, beside the tail
  std::shared_ptr<Capture> capture;
  std::vector<int> capture_tail;  // nodes that the next node follows
};

struct Event {
  unsigned flags = 0;
  WorkPtr marker;
  std::shared_ptr<Capture> capture;
  std::vector<int> capture_tail;
};

/// The stream behind a handle (null, cudaStreamLegacy and cudaStreamPerThread too); null where there is none.
Stream* find_stream(cudaStream_t handle);
/// An API function whose `body(stream)` runs on the stream behind a handle.
template <class Body>
cudaError_t with_stream(cudaStream_t handle, const Body& body) {
  return api([&] {
    Stream* const stream = find_stream(handle);
    return stream ? body(stream) : cudaErrorInvalidResourceHandle;
  });
}

Stream* create_stream(unsigned flags, int priority);
void destroy_stream(Stream* stream);

/// Queues `run` on `stream`, or records it where the stream is being captured. `kind` is for graphs.
/// Returns the work, null while capturing.
WorkPtr enqueue(Stream* stream, const std::string& kind, const std::string& name, std::function<void()> run);

/// Makes what is queued on `stream` from now on follow `work`.
void wait_for(Stream* stream, const WorkPtr& work);

/// Runs what `work` must follow, then `work`; the host is ordered after it from now on.
void synchronise(const WorkPtr& work);
void synchronise(Stream* stream);
void synchronise_device();
/// Whether `work` is done; if not, runs one thing it waits for, so that a host that polls gets there.
bool poll(const WorkPtr& work);
/// The work after which all that `stream` holds now is done; null where it is idle.
WorkPtr last_work(Stream* stream);

/// Queues a copy of `graph` on `stream`. `lanes` holds the clock indices of its branches, kept from launch to launch.
void launch_graph(const Graph& graph, std::vector<Stream*>& lanes, Stream* stream);

/// cudaSuccess, or why a call that waits for `stream` (or allocates, or touches the legacy stream) may not be made now.
/// It invalidates the capture, as CUDA does.
cudaError_t refused_by_capture(Stream* stream);
cudaError_t refused_by_any_capture();
/// cudaSuccess, or, while `stream` is captured, the end of the capture: for what CUDA would record, and what would go
/// wrong when it is replayed. `what` is for people.
cudaError_t refused_inside_capture(Stream* stream, const char* what);
std::vector<std::shared_ptr<Capture>>& captures();
/// Ends a capture: all its streams are live again.
void leave_capture(const std::shared_ptr<Capture>& capture);

/// Identities of executed work in access cells (races.h): small numbers, reused in a ring.
constexpr std::uint32_t work_ids = 4095;
/// The identity of the work that is running; 0 outside.
std::uint32_t current_work_id();
/// Whether the work that had this identity is ordered before the running one. Its own identity isn't.
bool ordered_before_current(std::uint32_t id);
std::string work_name(std::uint32_t id);

}  // namespace softgpu
