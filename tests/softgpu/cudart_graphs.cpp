// Stream capture and CUDA graphs: recorded queues.
#include <algorithm>

#include "failures.h"
#include "softgpu.h"
#include "streams.h"

using namespace softgpu;

namespace {

struct ExecutableGraph {
  Graph graph;
  std::vector<Stream*> lanes;
};

Graph* find_graph(cudaGraph_t handle) { return reinterpret_cast<Graph*>(handle); }
ExecutableGraph* find_executable(cudaGraphExec_t handle) { return reinterpret_cast<ExecutableGraph*>(handle); }

/// Whether all nodes lead to what the origin has at its end.
bool joined(const Graph& graph, const std::vector<int>& tail) {
  std::vector<bool> reached(graph.nodes.size());
  std::vector<int> open = tail;
  while (!open.empty()) {
    const auto node = static_cast<std::size_t>(open.back());
    open.pop_back();
    if (reached[node]) continue;
    reached[node] = true;
    for (const int each : graph.nodes[node].dependencies) open.push_back(each);
  }
  return std::find(reached.begin(), reached.end(), false) == reached.end();
}

cudaError_t begin_capture(Stream* stream, cudaStreamCaptureMode mode) {
  if (stream == find_stream(nullptr)) return cudaErrorStreamCaptureUnsupported;
  if (stream->capture) return cudaErrorIllegalState;
  if (const cudaError_t planted = planted_failure("cudaStreamBeginCapture")) return planted;
  if (!stream->waits.empty()) last_work(stream);
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  stream->capture->mode = mode;
  stream->capture_tail.clear();
  captures().push_back(stream->capture);
  return cudaSuccess;
}

cudaError_t end_capture(Stream* stream, cudaGraph_t* handle) {
  *handle = nullptr;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (!capture) return cudaErrorIllegalState;
  if (capture->origin != stream) return cudaErrorStreamCaptureUnmatched;
  if (planted_failure("cudaStreamEndCapture") != cudaSuccess) capture->invalid = true;
  const bool complete = joined(capture->graph, stream->capture_tail);
  leave_capture(capture);
  if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (!complete) return cudaErrorStreamCaptureUnjoined;
  *handle = reinterpret_cast<cudaGraph_t>(new Graph(capture->graph));
  return cudaSuccess;
}

cudaError_t instantiate(cudaGraphExec_t* handle, cudaGraph_t graph) {
  return api([&] {
    if (!graph) return cudaErrorInvalidValue;
    if (const cudaError_t planted = planted_failure("cudaGraphInstantiate")) return planted;
    *handle = reinterpret_cast<cudaGraphExec_t>(new ExecutableGraph{*find_graph(graph), {}});
    return cudaSuccess;
  });
}

bool same_shape(const Graph& a, const Graph& b) {
  return std::equal(a.nodes.begin(), a.nodes.end(), b.nodes.begin(), b.nodes.end(),
                    [](const GraphNode& one, const GraphNode& other) {
                      return one.kind == other.kind && one.dependencies == other.dependencies;
                    });
}

cudaStreamCaptureStatus status_of(const Stream& stream) {
  if (!stream.capture) return cudaStreamCaptureStatusNone;
  return stream.capture->invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return with_stream(handle, [&](Stream* stream) { return begin_capture(stream, mode); });
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  return with_stream(handle, [&](Stream* stream) { return end_capture(stream, graph); });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return with_stream(handle, [&](Stream* stream) { return *status = status_of(*stream), cudaSuccess; });
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t* graph, const cudaGraphNode_t** dependencies,
                                     const cudaGraphEdgeData** edges, std::size_t* count) {
  return with_stream(handle, [&](Stream* stream) {
    *status = status_of(*stream);
    if (id) *id = stream->capture ? reinterpret_cast<unsigned long long>(stream->capture.get()) : 0;
    if (graph) *graph = nullptr;
    if (dependencies) *dependencies = nullptr;
    if (edges) *edges = nullptr;
    if (count) *count = 0;
    return cudaSuccess;
  });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  thread_local cudaStreamCaptureMode current = cudaStreamCaptureModeGlobal;
  std::swap(current, *mode);
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return instantiate(executable, graph);
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return instantiate(executable, graph);
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* info) {
  return api([&] {
    const bool fits = same_shape(find_executable(executable)->graph, *find_graph(graph));
    if (info) *info = {};
    if (info) info->result = fits ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateErrorTopologyChanged;
    if (!fits) return cudaErrorGraphExecUpdateFailure;
    find_executable(executable)->graph = *find_graph(graph);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
  return with_stream(handle, [&](Stream* stream) {
    if (stream->capture) return cudaErrorNotSupported;
    if (const cudaError_t planted = planted_failure("cudaGraphLaunch")) return planted;
    launch_graph(find_executable(executable)->graph, find_executable(executable)->lanes, stream);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  return api([&] {
    if (nodes) return cudaErrorNotSupported;
    return *count = find_graph(graph)->nodes.size(), cudaSuccess;
  });
}

cudaError_t cudaGraphClone(cudaGraph_t* copy, cudaGraph_t graph) {
  return api([&] { return *copy = reinterpret_cast<cudaGraph_t>(new Graph(*find_graph(graph))), cudaSuccess; });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return api([&] { return delete find_graph(graph), cudaSuccess; });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
  return api([&] {
    ExecutableGraph* const executable = find_executable(handle);
    for (Stream* lane : executable->lanes) destroy_stream(lane);
    return delete executable, cudaSuccess;
  });
}

}  // extern "C"
