// Mistakes of host code: between launches, and in what is captured.
#include <cuda_runtime_api.h>

#include <algorithm>

#include "device_array.h"
#include "planted_bugs.h"

namespace softgpu_test {
namespace {

constexpr int threads = 128;

// The host reads a pinned buffer before the copy into it is known to be done: the old values are there.
bool missing_host_wait(bool corrected) {
  DeviceArray<float> x(std::vector<float>(threads, 5));
  float* host = nullptr;
  cudaStream_t stream;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaMallocHost(reinterpret_cast<void**>(&host), threads * sizeof(float));
  std::fill(host, host + threads, 0.0f);
  cudaDeviceSynchronize();
  cudaMemcpyAsync(host, x.get(), threads * sizeof(float), cudaMemcpyDeviceToHost, stream);
  if (corrected) cudaStreamSynchronize(stream);
  const bool right = host[0] == 5;
  cudaDeviceSynchronize();
  cudaFreeHost(host);
  cudaStreamDestroy(stream);
  return right;
}

/// Captures what `work` queues on a stream and launches it twice; whether CUDA took it all.
template <class Work>
bool replayed_twice(const Work& work) {
  cudaStream_t stream;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaDeviceSynchronize();
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
  work(stream);
  bool taken =
      cudaStreamEndCapture(stream, &graph) == cudaSuccess && cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess;
  for (int i = 0; taken && i < 2; ++i) taken = cudaGraphLaunch(executable, stream) == cudaSuccess;
  cudaStreamSynchronize(stream);
  if (executable != nullptr) cudaGraphExecDestroy(executable);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
  return taken;
}

// What the graph allocates is there while it runs, and whoever took the address along is left with nothing.
bool allocation_in_a_capture(bool corrected) {
  int* counts = nullptr;
  if (corrected) cudaMalloc(&counts, sizeof(int));
  const bool taken = replayed_twice([&](cudaStream_t stream) {
    if (!corrected) cudaMallocAsync(reinterpret_cast<void**>(&counts), sizeof(int), stream);
    cudaMemsetAsync(counts, 0, sizeof(int), stream);
  });
  if (corrected) cudaFree(counts);
  return taken;
}

// The second launch frees what the first one has freed.
bool free_in_a_capture(bool corrected) {
  int* counts = nullptr;
  cudaMalloc(&counts, sizeof(int));
  const bool taken = replayed_twice([&](cudaStream_t stream) {
    cudaMemsetAsync(counts, 0, sizeof(int), stream);
    if (!corrected) cudaFreeAsync(counts, stream);
  });
  cudaFree(counts);
  return taken;
}

// The host's number is gone when the graph is launched, or is another one.
bool host_copy_in_a_capture(bool corrected) {
  DeviceArray<int> on_device(std::vector<int>{0});
  int* pinned = nullptr;
  cudaMallocHost(reinterpret_cast<void**>(&pinned), sizeof(int));
  *pinned = 7;
  const bool taken = replayed_twice([&](cudaStream_t stream) {
    const int pageable = 7;
    cudaMemcpyAsync(on_device.get(), corrected ? pinned : &pageable, sizeof(int), cudaMemcpyHostToDevice, stream);
  });
  const bool right = taken && on_device.read()[0] == 7;
  cudaFreeHost(pinned);
  return right;
}

}  // namespace

std::vector<PlantedBug> planted_host_bugs() {
  constexpr auto host = PlantedBug::Place::host;
  return {{"missing host wait", "", missing_host_wait, host},
          {"allocation in a capture", "cudaMallocAsync inside a capture", allocation_in_a_capture, host},
          {"free in a capture", "cudaFreeAsync inside a capture", free_in_a_capture, host},
          {"host copy in a capture", "pageable host memory inside a capture", host_copy_in_a_capture, host}};
}

}  // namespace softgpu_test
