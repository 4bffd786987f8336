// The stand-in cuDNN's descriptors: typed attributes by name, as the backend API sets them.
#pragma once

#include <cudnn_graph.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace softgpu::cudnn {

/// Ends a call with a status and words for cudnnGetLastErrorString.
struct Refusal {
  cudnnStatus_t status;
  std::string words;
};

struct Descriptor;
using DescriptorPtr = std::shared_ptr<const Descriptor>;

struct Attribute {
  cudnnBackendAttributeType_t type = CUDNN_TYPE_INT64;
  std::int64_t count = 0;
  std::vector<std::byte> bytes;
  std::vector<DescriptorPtr> descriptors;  // in place of bytes
};

struct Descriptor {
  cudnnBackendDescriptorType_t type = CUDNN_BACKEND_TENSOR_DESCRIPTOR;
  bool finalised = false;
  std::map<int, Attribute> attributes;  // by cudnnBackendAttributeName_t

  bool has(cudnnBackendAttributeName_t name) const { return attributes.count(name) > 0; }
  /// Throws Refusal where it was not set.
  const Attribute& attribute(cudnnBackendAttributeName_t name) const;
  const Descriptor& descriptor(cudnnBackendAttributeName_t name) const { return *attribute(name).descriptors.at(0); }

  template <class T>
  std::vector<T> list(cudnnBackendAttributeName_t name) const {
    const Attribute& values = attribute(name);
    std::vector<T> result(values.bytes.size() / sizeof(T));
    std::memcpy(result.data(), values.bytes.data(), result.size() * sizeof(T));
    return result;
  }
  template <class T>
  T get(cudnnBackendAttributeName_t name) const {
    T value;
    const Attribute& values = attribute(name);
    if (values.bytes.size() < sizeof value) throw Refusal{CUDNN_STATUS_BAD_PARAM, "an attribute has no value"};
    std::memcpy(&value, values.bytes.data(), sizeof value);
    return value;
  }
};

/// A tensor descriptor, taken apart. cuDNN's order of axes: N, C, H, W, or K, C, R, S.
struct TensorInfo {
  std::int64_t uid = 0;
  std::vector<std::int64_t> sizes, strides;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  std::int64_t alignment = 1;
  bool is_virtual = false;

  explicit TensorInfo(const Descriptor& tensor);
  std::int64_t count() const;
  std::size_t bytes() const { return static_cast<std::size_t>(count()) * (type == CUDNN_DATA_BFLOAT16 ? 2 : 4); }
  std::string text() const;
};

/// An operation's tensors, by the attributes that name them.
struct OperationTensors {
  std::vector<cudnnBackendAttributeName_t> inputs, outputs;
};
OperationTensors tensors_of(cudnnBackendDescriptorType_t operation);

/// Throws Refusal where a descriptor lacks something or its parts don't fit.
void check(const Descriptor& descriptor);

/// One way to run an operation graph.
struct Engine {
  std::int64_t index = 0;
  std::vector<cudnnBackendNumericalNote_t> notes;
  bool compiled = false;  // its kernels are generated for the graph, as the real one does for what is fused
};
/// Those that can run the graph, fastest first. SOFTGPU_CUDNN=none: none for any; wrong: in front one that gives sums
/// which are wrong by a half.
std::vector<Engine> engines_of(const Descriptor& graph);
constexpr std::int64_t kExactEngine = 0, kTensorCoreEngine = 1, kWrongEngine = 2;

/// A plan as text, and what text says: the configuration that the plan was made of. Throws Refusal for text of another
/// version, or none of ours.
std::string serialised(const Descriptor& plan);
DescriptorPtr configuration_from(const std::string& text);

/// What the runs of a plan need beside the tensors: what their outputs take and 256 bytes, as an engine that transposes
/// might. All of it is overwritten at the start of each run.
std::int64_t workspace_bytes(const Descriptor& plan);
/// The operations that a plan runs.
const std::vector<DescriptorPtr>& operations_of(const Descriptor& plan);

}  // namespace softgpu::cudnn
