// The software GPU's own libcudnn: that it catches what the real one would let pass or crash on, and behaves as work of
// a stream. (That it computes what it should: tests/cuda_cudnn_test.cpp.)
#include <gtest/gtest.h>

#include <cstdlib>

#include "cuda/cudnn_plan.h"
#include "tests/softgpu/softgpu.h"

namespace stagewise {
namespace {

constexpr cudnn::TensorId kX = 0, kWeight = 1, kY = 2;
constexpr Conv2dOptions kSame{1, 1, 1};
const Shape kImage{1, 2, 2, 1}, kFilter{1, 3, 3, 1};

/// y = convolution(x, weight) of one image of 2x2 pixels.
cudnn::Graph small_graph() {
  cudnn::Graph graph;
  graph.convolution_forward(graph.tensor(kX, kImage, DType::float32), graph.tensor(kWeight, kFilter, DType::float32),
                            graph.tensor(kY, kImage, DType::float32), kSame);
  return graph;
}

class SoftwareCudnn : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(cudaStreamCreate(&stream_), cudaSuccess);
    ASSERT_EQ(cudnnCreate(&handle_), CUDNN_STATUS_SUCCESS);
    ASSERT_EQ(cudnnSetStream(handle_, stream_), CUDNN_STATUS_SUCCESS);
    x_ = device({1, 2, 3, 4});
    weight_ = device({0, 0, 0, 0, 1, 10, 0, 0, 100});  // a pixel, its right neighbour, the one right below that
    y_ = device(std::vector<float>(4));
    workspace_ = device(std::vector<float>(256));
  }
  void TearDown() override {
    softgpu_forget_error();
    for (void* pointer : allocated_) cudaFree(pointer);
    cudnnDestroy(handle_);
    cudaStreamDestroy(stream_);
  }

  void* device(const std::vector<float>& values) {
    void* pointer = nullptr;
    EXPECT_EQ(cudaMalloc(&pointer, values.size() * sizeof(float)), cudaSuccess);
    allocated_.push_back(pointer);
    EXPECT_EQ(cudaMemcpy(pointer, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice), cudaSuccess);
    return pointer;
  }
  std::vector<float> host(const void* pointer, std::size_t count) {
    std::vector<float> values(count);
    EXPECT_EQ(cudaMemcpy(values.data(), pointer, count * sizeof(float), cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }
  cudnn::Plan plan(const cudnn::Graph& graph) {
    std::string why;
    auto made = cudnn::make_plan(graph, cudnn::Target(handle_), {}, &why);
    if (!made) throw Error(why);
    return *made;
  }
  /// Runs a plan and returns what it throws, "" for nothing.
  std::string run(const cudnn::Plan& made, const std::vector<std::pair<cudnn::TensorId, void*>>& addresses) {
    try {
      made.run(handle_, addresses, workspace_);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  cudaStream_t stream_ = nullptr;
  cudnnHandle_t handle_ = nullptr;
  std::vector<void*> allocated_;
  void *x_ = nullptr, *weight_ = nullptr, *y_ = nullptr, *workspace_ = nullptr;
};

TEST_F(SoftwareCudnn, ConvolvesBySumsWrittenOutByHand) {
  EXPECT_EQ(run(plan(small_graph()), {{kX, x_}, {kWeight, weight_}, {kY, y_}}), "");
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(host(y_, 4), (std::vector<float>{1 + 20 + 400, 2, 3 + 40, 4}));
}

TEST_F(SoftwareCudnn, RunsOperationsInTheOrderOfTheirData) {
  cudnn::Graph graph;
  const auto x = graph.tensor(kX, kImage, DType::float32), weight = graph.tensor(kWeight, kFilter, DType::float32);
  const auto y = graph.tensor(kY, kImage, DType::float32), between = graph.intermediate(kImage);
  graph.pointwise(CUDNN_POINTWISE_RELU_FWD, between, y);
  graph.convolution_forward(x, weight, between, kSame);
  void* const negative = device({-1, 2, -3, 4});
  EXPECT_EQ(run(plan(graph), {{kX, negative}, {kWeight, weight_}, {kY, y_}}), "");
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(host(y_, 4), (std::vector<float>{-1 + 20 + 400, 2, -3 + 40, 4}));
}

TEST_F(SoftwareCudnn, RunsAPlanThatWasText) {
  const std::string text = plan(small_graph()).serialised();
  const cudnn::Plan loaded(text, cudnn::Target(handle_));
  EXPECT_EQ(run(loaded, {{kX, x_}, {kWeight, weight_}, {kY, y_}}), "");
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(host(y_, 4), (std::vector<float>{1 + 20 + 400, 2, 3 + 40, 4}));
  EXPECT_EQ(loaded.serialised(), text);
  for (const char* wrong : {"{}", "none", R"({"cudnnVersion":1})"}) {
    EXPECT_THROW(cudnn::Plan(wrong, cudnn::Target(handle_)), Error) << wrong;
  }
}

TEST_F(SoftwareCudnn, OverwritesItsWorkspace) {
  EXPECT_EQ(run(plan(small_graph()), {{kX, x_}, {kWeight, weight_}, {kY, y_}}), "");
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_NE(host(workspace_, 1)[0], 0.0F);
}

TEST_F(SoftwareCudnn, RefusesMissingAndMisalignedAddresses) {
  const cudnn::Plan made = plan(small_graph());
  const std::string missing = run(made, {{kX, x_}, {kY, y_}});
  EXPECT_NE(missing.find("no address for tensor 1 [1,1,3,3]"), std::string::npos) << missing;
  const std::string crooked = run(made, {{kX, static_cast<char*>(x_) + 4}, {kWeight, weight_}, {kY, y_}});
  EXPECT_NE(crooked.find("tensor 0 lies less aligned than it says"), std::string::npos) << crooked;
}

TEST_F(SoftwareCudnn, StopsAtATensorThatIsLongerThanItsMemory) {
  cudnn::Graph graph;
  const Shape large{4, 2, 2, 1};
  graph.convolution_forward(graph.tensor(kX, large, DType::float32), graph.tensor(kWeight, kFilter, DType::float32),
                            graph.tensor(kY, large, DType::float32), kSame);
  EXPECT_EQ(run(plan(graph), {{kX, x_}, {kWeight, weight_}, {kY, device(std::vector<float>(16))}}), "");
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
  EXPECT_NE(std::string(softgpu_last_report()).find("cudnnBackendExecute"), std::string::npos) << softgpu_last_report();
}

TEST_F(SoftwareCudnn, NoticesAnInputThatNobodyHasWritten) {
  void* fresh = nullptr;
  ASSERT_EQ(cudaMalloc(&fresh, 16), cudaSuccess);
  allocated_.push_back(fresh);
  EXPECT_EQ(run(plan(small_graph()), {{kX, fresh}, {kWeight, weight_}, {kY, y_}}), "");
  EXPECT_NE(cudaStreamSynchronize(stream_), cudaSuccess);
}

TEST_F(SoftwareCudnn, NoticesAnOutputToAddToThatNobodyHasWritten) {
  const auto adding = [](cudnn::Output output) {
    cudnn::Graph graph;
    graph.convolution_forward(graph.tensor(kX, kImage, DType::float32), graph.tensor(kWeight, kFilter, DType::float32),
                              graph.tensor(kY, kImage, DType::float32), kSame, output);
    return graph;
  };
  for (const cudnn::Output output : {cudnn::Output::overwrite, cudnn::Output::add}) {
    void* fresh = nullptr;
    ASSERT_EQ(cudaMalloc(&fresh, 16), cudaSuccess);
    allocated_.push_back(fresh);
    EXPECT_EQ(run(plan(adding(output)), {{kX, x_}, {kWeight, weight_}, {kY, fresh}}), "");
    EXPECT_EQ(cudaStreamSynchronize(stream_) == cudaSuccess, output == cudnn::Output::overwrite);
  }
  EXPECT_NE(std::string(softgpu_last_report()).find("reads memory that nothing has written"), std::string::npos);
}

TEST_F(SoftwareCudnn, RefusesStatisticsForTheirAtomicSums) {
  cudnnBackendDescriptor_t statistics = nullptr;
  ASSERT_EQ(cudnnBackendCreateDescriptor(CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR, &statistics),
            CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(cudnnBackendFinalize(statistics), CUDNN_STATUS_NOT_SUPPORTED);
  cudnnBackendDestroyDescriptor(statistics);
}

TEST_F(SoftwareCudnn, NoticesAMissingWaitBetweenStreams) {
  cudaStream_t other = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaMemsetAsync(x_, 0, 16, other), cudaSuccess);
  EXPECT_EQ(run(plan(small_graph()), {{kX, x_}, {kWeight, weight_}, {kY, y_}}), "");
  EXPECT_NE(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_NE(std::string(softgpu_last_report()).find("race between streams"), std::string::npos);
  softgpu_forget_error();
  cudaStreamDestroy(other);
}

TEST_F(SoftwareCudnn, IsCapturedIntoAGraphThatRunsAgain) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  {
    const cudnn::Plan made = plan(small_graph());
    ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    EXPECT_EQ(run(made, {{kX, x_}, {kWeight, weight_}, {kY, y_}}), "");
    ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  }  // the plan is gone, the graph is not
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  for (const float first : {1.0F, 5.0F}) {
    ASSERT_EQ(cudaMemcpyAsync(x_, &first, sizeof first, cudaMemcpyHostToDevice, stream_), cudaSuccess);
    ASSERT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    EXPECT_EQ(host(y_, 1)[0], first + 420);
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

TEST_F(SoftwareCudnn, HasNoEngineWhereTheEnvironmentSaysSo) {
  ASSERT_EQ(setenv("SOFTGPU_CUDNN", "none", 1), 0);
  std::string why;
  EXPECT_FALSE(cudnn::make_plan(small_graph(), cudnn::Target(handle_), {}, &why));
  EXPECT_EQ(why, "cuDNN proposes no engine");
  unsetenv("SOFTGPU_CUDNN");
}

TEST_F(SoftwareCudnn, TakesNoDescriptorThatWasDestroyedOrIsNotFinalised) {
  cudnnBackendDescriptor_t tensor = nullptr, operation = nullptr;
  ASSERT_EQ(cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, &tensor), CUDNN_STATUS_SUCCESS);
  ASSERT_EQ(cudnnBackendCreateDescriptor(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, &operation),
            CUDNN_STATUS_SUCCESS);
  const auto set = [&] {
    return cudnnBackendSetAttribute(operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                    &tensor);
  };
  EXPECT_EQ(set(), CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
  EXPECT_NE(cudnnBackendFinalize(tensor), CUDNN_STATUS_SUCCESS) << "it has no shape";
  EXPECT_EQ(cudnnBackendDestroyDescriptor(tensor), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(set(), CUDNN_STATUS_BAD_PARAM);
  EXPECT_NE(cudnnBackendDestroyDescriptor(tensor), CUDNN_STATUS_SUCCESS) << "twice";
  cudnnBackendDestroyDescriptor(operation);
}

}  // namespace
}  // namespace stagewise
