// Streams, events and graphs of the software GPU: what is promised to be ordered is, and what isn't comes as late as it
// may.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <vector>

#include "softgpu.h"

namespace softgpu_test {
namespace {

class Streams : public testing::Test {
 protected:
  void SetUp() override {
    softgpu_forget_error();
    for (cudaStream_t* each : {&first_, &second_}) cudaStreamCreateWithFlags(each, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event_, cudaEventDisableTiming);
    cudaMalloc(reinterpret_cast<void**>(&device_), sizeof(int));
    cudaMallocHost(reinterpret_cast<void**>(&pinned_), sizeof(int));
    *pinned_ = 0;
  }
  void TearDown() override {
    softgpu_forget_error();
    cudaFreeHost(pinned_);
    cudaFree(device_);
    cudaEventDestroy(event_);
    for (cudaStream_t each : {first_, second_}) cudaStreamDestroy(each);
  }

  /// All bytes of the number on the device become `value`.
  void set(int value, cudaStream_t stream) {
    EXPECT_EQ(cudaMemsetAsync(device_, value, sizeof(int), stream), cudaSuccess);
  }
  void fetch(cudaStream_t stream) {
    EXPECT_EQ(cudaMemcpyAsync(pinned_, device_, sizeof(int), cudaMemcpyDeviceToHost, stream), cudaSuccess);
  }
  void record_fetch(cudaGraph_t* graph, int value) {
    ASSERT_EQ(cudaStreamBeginCapture(first_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    set(value, first_);
    fetch(first_);
    ASSERT_EQ(cudaStreamEndCapture(first_, graph), cudaSuccess);
  }

  cudaStream_t first_ = nullptr, second_ = nullptr;
  cudaEvent_t event_ = nullptr;
  int* device_ = nullptr;
  int* pinned_ = nullptr;
};

TEST_F(Streams, NothingRunsUntilTheHostWaits) {
  set(1, first_);
  fetch(first_);
  EXPECT_EQ(*pinned_, 0);
  EXPECT_EQ(cudaStreamSynchronize(second_), cudaSuccess);
  EXPECT_EQ(*pinned_, 0) << "another stream's wait is none of this one's business";
  EXPECT_EQ(cudaStreamSynchronize(first_), cudaSuccess);
  EXPECT_EQ(*pinned_, 0x01010101);
}

TEST_F(Streams, PollingGetsThere) {
  set(1, first_);
  fetch(first_);
  EXPECT_EQ(cudaStreamQuery(first_), cudaErrorNotReady);
  int polls = 0;
  while (cudaStreamQuery(first_) == cudaErrorNotReady && polls < 10) ++polls;
  EXPECT_LT(polls, 10);
  EXPECT_EQ(*pinned_, 0x01010101);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "not being ready is no error";
}

TEST_F(Streams, AnEventOrdersStreams) {
  set(2, first_);
  cudaEventRecord(event_, first_);
  cudaStreamWaitEvent(second_, event_);
  fetch(second_);
  EXPECT_EQ(cudaStreamSynchronize(second_), cudaSuccess);
  EXPECT_EQ(*pinned_, 0x02020202);
}

TEST_F(Streams, CopiesWithoutAnEventRace) {
  set(2, first_);
  fetch(second_);
  EXPECT_NE(cudaDeviceSynchronize(), cudaSuccess);
  const std::string report = softgpu_last_report();
  EXPECT_TRUE(report.find("race between streams") != std::string::npos ||
              report.find("memory that nothing has written") != std::string::npos)
      << report;
}

TEST_F(Streams, TheHostsWaitOrdersStreams) {
  set(3, first_);
  cudaStreamSynchronize(first_);
  fetch(second_);
  EXPECT_EQ(cudaStreamSynchronize(second_), cudaSuccess) << softgpu_last_report();
  EXPECT_EQ(*pinned_, 0x03030303);
}

TEST_F(Streams, TheLegacyStreamOrdersBlockingStreams) {
  cudaStream_t blocking = nullptr, other = nullptr;
  cudaStreamCreate(&blocking);
  cudaStreamCreate(&other);
  set(4, blocking);
  cudaMemset(device_, 5, sizeof(int));  // legacy: after `blocking`, before `other`
  fetch(other);
  EXPECT_EQ(cudaStreamSynchronize(other), cudaSuccess) << softgpu_last_report();
  EXPECT_EQ(*pinned_, 0x05050505);
  cudaStreamDestroy(blocking);
  cudaStreamDestroy(other);
}

TEST_F(Streams, PageableMemoryIsReadAtTheCallAndPinnedMemoryLater) {
  int pageable = 1;
  cudaMemcpyAsync(device_, &pageable, sizeof(int), cudaMemcpyHostToDevice, first_);
  pageable = 2;
  fetch(first_);
  cudaStreamSynchronize(first_);
  EXPECT_EQ(*pinned_, 1);
  *pinned_ = 3;
  cudaMemcpyAsync(device_, pinned_, sizeof(int), cudaMemcpyHostToDevice, first_);
  *pinned_ = 4;                                                                      // too early: the copy hasn't run
  cudaMemcpyAsync(&pageable, device_, sizeof(int), cudaMemcpyDeviceToHost, first_);  // pageable: waits
  EXPECT_EQ(pageable, 4);
}

TEST_F(Streams, AGraphIsReplayedAndUpdated) {
  cudaGraph_t graph = nullptr, other = nullptr;
  record_fetch(&graph, 6);
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(first_), cudaSuccess);
  EXPECT_EQ(*pinned_, 0) << "capturing runs nothing";
  for (int round = 0; round < 2; ++round) {
    set(7, first_);
    *pinned_ = 0;
    ASSERT_EQ(cudaGraphLaunch(executable, first_), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(first_), cudaSuccess) << softgpu_last_report();
    EXPECT_EQ(*pinned_, 0x06060606);
  }
  record_fetch(&other, 8);
  cudaGraphExecUpdateResultInfo info;
  EXPECT_EQ(cudaGraphExecUpdate(executable, other, &info), cudaSuccess);
  cudaGraphLaunch(executable, first_);
  cudaStreamSynchronize(first_);
  EXPECT_EQ(*pinned_, 0x08080808);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaGraphDestroy(other);
}

TEST_F(Streams, ACaptureSpreadsByEventsAndMustBeJoined) {
  for (const bool joined : {true, false}) {
    cudaStreamBeginCapture(first_, cudaStreamCaptureModeThreadLocal);
    set(1, first_);
    cudaEventRecord(event_, first_);
    cudaStreamWaitEvent(second_, event_);
    fetch(second_);
    if (joined) {
      cudaEventRecord(event_, second_);
      cudaStreamWaitEvent(first_, event_);
    }
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(first_, &graph), joined ? cudaSuccess : cudaErrorStreamCaptureUnjoined);
    std::size_t nodes = 0;
    if (joined) {
      EXPECT_EQ(cudaGraphGetNodes(graph, nullptr, &nodes), cudaSuccess);
    }
    EXPECT_EQ(nodes, joined ? 2 : 0);
    if (graph) cudaGraphDestroy(graph);
  }
}

TEST_F(Streams, WaitingInACaptureIsRefused) {
  cudaStreamBeginCapture(first_, cudaStreamCaptureModeGlobal);
  set(1, first_);
  EXPECT_EQ(cudaStreamSynchronize(first_), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(first_, &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(graph, nullptr);
}

}  // namespace
}  // namespace softgpu_test
