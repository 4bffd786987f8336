// cudaStream and cudaEvent.
#include "softgpu.h"
#include "streams.h"

using namespace softgpu;

namespace {

Event* find_event(cudaEvent_t handle) { return reinterpret_cast<Event*>(handle); }

cudaError_t create(cudaStream_t* handle, unsigned flags, int priority) {
  return api([&] {
    if (flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
    return *handle = reinterpret_cast<cudaStream_t>(create_stream(flags, priority)), cudaSuccess;
  });
}

cudaError_t record(Event* event, Stream* stream) {
  if (stream->capture) {
    event->capture = stream->capture;
    event->capture_tail = stream->capture_tail;
    return cudaSuccess;
  }
  event->capture.reset();
  event->marker = enqueue(stream, "event", "cudaEventRecord", nullptr);
  return cudaSuccess;
}

cudaError_t wait(Stream* stream, Event* event) {
  if (!event->capture) {
    if (!stream->capture) return wait_for(stream, event->marker), cudaSuccess;
    if (!event->marker || event->marker->done) return cudaSuccess;
    stream->capture->invalid = true;
    return cudaErrorStreamCaptureIsolation;
  }
  if (stream->capture && stream->capture != event->capture) return cudaErrorStreamCaptureMerge;
  stream->capture = event->capture;  // a capture spreads to what waits for it
  for (const int node : event->capture_tail) stream->capture_tail.push_back(node);
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return create(stream, cudaStreamDefault, 0); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) { return create(stream, flags, 0); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return create(stream, flags, priority);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return with_stream(handle, [&](Stream* stream) {
    if (handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread) {
      return cudaErrorInvalidResourceHandle;
    }
    return destroy_stream(stream), cudaSuccess;
  });
}

cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags) {
  return with_stream(handle, [&](Stream* stream) { return *flags = stream->flags, cudaSuccess; });
}
cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  return with_stream(handle, [&](Stream* stream) { return *priority = stream->priority, cudaSuccess; });
}
cudaError_t cudaStreamGetId(cudaStream_t handle, unsigned long long* id) {
  return with_stream(handle, [&](Stream* stream) { return *id = stream->index, cudaSuccess; });
}
cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device) {
  return with_stream(handle, [&](Stream*) { return *device = 0, cudaSuccess; });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return with_stream(handle, [](Stream* stream) {
    const cudaError_t refused = refused_by_capture(stream);
    if (refused == cudaSuccess) synchronise(stream);
    return refused;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return with_stream(handle, [](Stream* stream) {
    if (const cudaError_t refused = refused_by_capture(stream)) return refused;
    return poll(last_work(stream)) ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  return with_stream(handle, [&](Stream* stream) { return wait(stream, find_event(event)); });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return with_stream(handle, [&](Stream* stream) {
    enqueue(stream, "host", "host function", [function, data] { function(data); });
    return cudaSuccess;
  });
}

cudaError_t cudaStreamAddCallback(cudaStream_t handle, cudaStreamCallback_t callback, void* data, unsigned) {
  return with_stream(handle, [&](Stream* stream) {
    if (stream->capture) return refused_by_capture(stream);
    enqueue(stream, "host", "callback", [=] { callback(handle, cudaSuccess, data); });
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned flags) {
  return api([&] {
    auto* const event = new Event;
    event->flags = flags;
    return *handle = reinterpret_cast<cudaEvent_t>(event), cudaSuccess;
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard<std::recursive_mutex> lock(global_lock());
  delete find_event(event);  // also once an error sticks: else nobody could
  return api([] { return cudaSuccess; });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  return with_stream(handle, [&](Stream* stream) { return record(find_event(event), stream); });
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return api([&] {
    if (find_event(event)->capture) return cudaErrorCapturedEvent;
    return synchronise(find_event(event)->marker), cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return api([&] {
    if (find_event(event)->capture) return cudaErrorCapturedEvent;
    return poll(find_event(event)->marker) ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  return api([&] {
    const Event& first = *find_event(begin);
    const Event& last = *find_event(end);
    if ((first.flags | last.flags) & cudaEventDisableTiming) return cudaErrorInvalidResourceHandle;
    if (!first.marker || !last.marker) return cudaErrorInvalidResourceHandle;
    if (!first.marker->done || !last.marker->done) return cudaErrorNotReady;
    *milliseconds = static_cast<float>((last.marker->finished - first.marker->finished) * 1e3);
    return cudaSuccess;
  });
}

}  // extern "C"
