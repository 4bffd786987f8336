// What the stand-in cuDNN checks when a descriptor is finalised, and which graphs it has engines for: as cuDNN 9.19
// does on sm_80 and later, as far as this project's graphs go (tests/cudnn_plans_test.cpp asks the real one).
#include <cstdlib>
#include <numeric>

#include "cudnn_descriptors.h"

namespace softgpu::cudnn {
namespace {

[[noreturn]] void refuse(const std::string& words, cudnnStatus_t status = CUDNN_STATUS_BAD_PARAM) {
  throw Refusal{status, words};
}

void check_tensor(const Descriptor& descriptor) {
  const TensorInfo tensor(descriptor);
  if (tensor.sizes.size() != 4 || tensor.strides.size() != 4) refuse("expected tensors of four axes");
  for (const std::int64_t size : tensor.sizes) {
    if (size < 1) refuse("expected positive sizes, got " + tensor.text());
  }
  if (tensor.strides[1] != 1) refuse("only channels-last tensors are implemented", CUDNN_STATUS_NOT_SUPPORTED_LAYOUT);
}

struct ConvolutionTensors {
  cudnnBackendAttributeName_t x, weight, y, convolution;
};
ConvolutionTensors convolution_tensors(cudnnBackendDescriptorType_t type) {
  switch (type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
      return {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC};
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
      return {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC};
    default:
      return {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC};
  }
}

void check_convolution(const Descriptor& operation) {
  const ConvolutionTensors names = convolution_tensors(operation.type);
  const TensorInfo x(operation.descriptor(names.x)), weight(operation.descriptor(names.weight));
  const TensorInfo y(operation.descriptor(names.y));
  const Descriptor& convolution = operation.descriptor(names.convolution);
  const auto before = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
  const auto after = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
  const auto stride = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
  bool fits = x.sizes[0] == y.sizes[0] && x.sizes[1] == weight.sizes[1] && weight.sizes[0] == y.sizes[1];
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::int64_t room = x.sizes[axis + 2] + before[axis] + after[axis] - weight.sizes[axis + 2];
    fits = fits && room >= 0 && y.sizes[axis + 2] == room / stride[axis] + 1;
  }
  if (!fits) {
    refuse("x " + x.text() + ", filter " + weight.text() + " and y " + y.text() + " do not fit together",
           CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
  }
}

void check_pointwise(const Descriptor& operation) {
  const TensorInfo x(operation.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
  const TensorInfo y(operation.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
  if (x.sizes != y.sizes) refuse("x " + x.text() + " and y " + y.text() + " differ");
  if (!operation.has(CUDNN_ATTR_OPERATION_POINTWISE_BDESC)) return;
  const TensorInfo b(operation.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
  for (std::size_t axis = 0; axis < 4; ++axis) {
    // The real one takes other sizes, and then reads what isn't there.
    if (b.sizes[axis] != 1 && b.sizes[axis] != x.sizes[axis]) refuse("b " + b.text() + " does not fit " + x.text());
  }
}

void check_plan(const Descriptor& plan) {
  const Descriptor& configuration = plan.descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  if (!configuration.has(CUDNN_ATTR_ENGINECFG_ENGINE)) refuse("a configuration that no heuristics gave");
  plan.attribute(CUDNN_ATTR_EXECUTION_PLAN_HANDLE);
}

void check_variant_pack(const Descriptor& pack) {
  const std::int64_t ids = pack.attribute(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).count;
  const std::int64_t pointers = pack.attribute(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS).count;
  if (ids != pointers) refuse(std::to_string(ids) + " tensors but " + std::to_string(pointers) + " addresses");
}

bool is_convolution(const Descriptor& operation) {
  return operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR ||
         operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ||
         operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR;
}

}  // namespace

OperationTensors tensors_of(cudnnBackendDescriptorType_t operation) {
  const ConvolutionTensors names = convolution_tensors(operation);
  switch (operation) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR: return {{names.x, names.weight}, {names.y}};
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR: return {{names.y, names.weight}, {names.x}};
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR: return {{names.x, names.y}, {names.weight}};
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
      return {{CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_BDESC},
              {CUDNN_ATTR_OPERATION_POINTWISE_YDESC}};
    default: refuse("an operation that is not implemented", CUDNN_STATUS_NOT_SUPPORTED);
  }
}

TensorInfo::TensorInfo(const Descriptor& tensor)
    : uid(tensor.get<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)),
      sizes(tensor.list<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS)),
      strides(tensor.list<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES)),
      type(tensor.get<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE)),
      alignment(tensor.get<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)),
      is_virtual(tensor.has(CUDNN_ATTR_TENSOR_IS_VIRTUAL) && tensor.get<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL)) {
  if (type != CUDNN_DATA_FLOAT && type != CUDNN_DATA_BFLOAT16) {
    refuse("a data type that is not implemented", CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE);
  }
}

std::int64_t TensorInfo::count() const {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>());
}

std::string TensorInfo::text() const {
  std::string text;
  for (const std::int64_t size : sizes) {
    text += text.empty() ? '[' : ',';
    text += std::to_string(size);
  }
  return text + "]";
}

const Attribute& Descriptor::attribute(cudnnBackendAttributeName_t name) const {
  const auto found = attributes.find(name);
  if (found == attributes.end()) refuse("attribute " + std::to_string(name) + " was not set");
  return found->second;
}

void check(const Descriptor& descriptor) {
  switch (descriptor.type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR: return check_tensor(descriptor);
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
      if (descriptor.get<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE) != CUDNN_CROSS_CORRELATION) {
        refuse("mirrored filters are not implemented", CUDNN_STATUS_NOT_SUPPORTED);
      }
      return;
    case CUDNN_BACKEND_POINTWISE_DESCRIPTOR: descriptor.attribute(CUDNN_ATTR_POINTWISE_MODE); return;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR: return check_convolution(descriptor);
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: return check_pointwise(descriptor);
    case CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR:
      refuse("statistics: cuDNN's kernels gather them by atomic sums, though no note says so: never the same bits",
             CUDNN_STATUS_NOT_SUPPORTED);
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR: descriptor.attribute(CUDNN_ATTR_OPERATIONGRAPH_HANDLE); return;
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR: descriptor.attribute(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH); return;
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR: return check_plan(descriptor);
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR: return check_variant_pack(descriptor);
    default: refuse("a kind of descriptor that is not implemented", CUDNN_STATUS_NOT_SUPPORTED);
  }
}

const std::vector<DescriptorPtr>& operations_of(const Descriptor& plan) {
  const Descriptor& engine =
      plan.descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).descriptor(CUDNN_ATTR_ENGINECFG_ENGINE);
  return engine.descriptor(CUDNN_ATTR_ENGINE_OPERATION_GRAPH).attribute(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptors;
}

std::int64_t workspace_bytes(const Descriptor& plan) {
  std::size_t outputs = 0;
  for (const DescriptorPtr& operation : operations_of(plan)) {
    for (const auto name : tensors_of(operation->type).outputs) {
      const TensorInfo output(operation->descriptor(name));
      if (!output.is_virtual) outputs += output.bytes();
    }
  }
  return static_cast<std::int64_t>(outputs) + 256;
}

std::vector<Engine> engines_of(const Descriptor& graph) {
  const char* const setting = std::getenv("SOFTGPU_CUDNN");
  if (setting != nullptr && std::string(setting) == "none") return {};
  bool exact = true, even_channels = true, convolved = false;
  for (const DescriptorPtr& operation : graph.attribute(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptors) {
    if (is_convolution(*operation)) {
      convolved = true;
      const ConvolutionTensors names = convolution_tensors(operation->type);
      const TensorInfo x(operation->descriptor(names.x)), weight(operation->descriptor(names.weight));
      // What reads or writes through a conversion works on pairs of channels.
      const bool converts = operation->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR &&
                            weight.is_virtual && x.type == CUDNN_DATA_BFLOAT16;
      if (x.is_virtual || converts) even_channels = even_channels && x.sizes[1] % 2 == 0;
      if (converts) even_channels = even_channels && weight.sizes[0] % 2 == 0;
      exact = exact && !x.is_virtual && x.type == CUDNN_DATA_FLOAT;
    }
  }
  // In float32 what is fused behind a convolution is precompiled.
  const std::size_t operations = graph.attribute(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptors.size();
  const bool compiled = operations > 1 && !exact;
  if (!convolved || !even_channels) return {};
  std::vector<Engine> engines{{kTensorCoreEngine, {CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, compiled}};
  if (exact) engines.push_back({kExactEngine, {}, false});
  if (setting != nullptr && std::string(setting) == "wrong") engines.insert(engines.begin(), {kWrongEngine, {}, false});
  return engines;
}

}  // namespace softgpu::cudnn
