#include "cuda/cudnn_graph.h"

#include <algorithm>
#include <array>

#include "cuda/check.h"

namespace stagewise::cudnn {
namespace {

cudnnDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::bfloat16: return CUDNN_DATA_BFLOAT16;
    case DType::float32: return CUDNN_DATA_FLOAT;
    default: fail("[cudnn] expected tensors of float32 or bfloat16, got ", name_of(dtype));
  }
}

Descriptor convolution(const Conv2dOptions& options) {
  const std::array<std::int64_t, 2> stride{options.stride, options.stride}, dilation{1, 1};
  const std::array<std::int64_t, 2> before{options.padding_before, options.padding_before};
  const std::array<std::int64_t, 2> after{options.padding_after, options.padding_after};
  Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
  convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2});
  convolution.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::span<const std::int64_t>(dilation));
  convolution.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::span<const std::int64_t>(stride));
  convolution.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::span<const std::int64_t>(before));
  convolution.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, std::span<const std::int64_t>(after));
  convolution.finalise("a convolution");
  return convolution;
}

Descriptor pointwise_descriptor(cudnnPointwiseMode_t mode) {
  Descriptor pointwise(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  pointwise.set(CUDNN_ATTR_POINTWISE_MODE, mode);
  pointwise.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  pointwise.finalise("an element-wise operation");
  return pointwise;
}

}  // namespace

std::string version() {
  const std::size_t version = cudnnGetVersion();
  return concat(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) : state_(std::make_shared<State>()) {
  STAGEWISE_CHECK(cudnnBackendCreateDescriptor(type, &state_->handle));
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
                     const void* values) {
  STAGEWISE_CHECK(cudnnBackendSetAttribute(get(), name, type, count, values));
}

void Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) { set(name, std::span(&value, 1)); }

void Descriptor::set(cudnnBackendAttributeName_t name, std::span<const Descriptor> values) {
  std::vector<cudnnBackendDescriptor_t> handles;
  for (const Descriptor& value : values) handles.push_back(value.get());
  set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::ssize(handles), handles.data());
  state_->referred_to.insert(state_->referred_to.end(), values.begin(), values.end());
}

void Descriptor::finalise(const std::string& what) {
  std::string why;
  if (!try_finalise(&why)) fail("[cudnn] ", what, ": ", why);
}

bool Descriptor::try_finalise(std::string* why) {
  const cudnnStatus_t status = cudnnBackendFinalize(get());
  if (status == CUDNN_STATUS_SUCCESS) return true;
  std::array<char, 512> message{};
  cudnnGetLastErrorString(message.data(), message.size());
  *why = concat(cudnnGetErrorString(status), message[0] == '\0' ? "" : ": ", message.data());
  return false;
}

std::int64_t Descriptor::get_int64(cudnnBackendAttributeName_t name) const {
  std::int64_t count = 0, value = 0;
  STAGEWISE_CHECK(cudnnBackendGetAttribute(get(), name, CUDNN_TYPE_INT64, 1, &count, &value));
  return value;
}

std::vector<cudnnBackendNumericalNote_t> Descriptor::get_notes(cudnnBackendAttributeName_t name) const {
  std::vector<cudnnBackendNumericalNote_t> notes(CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  std::int64_t count = 0;
  STAGEWISE_CHECK(
      cudnnBackendGetAttribute(get(), name, CUDNN_TYPE_NUMERICAL_NOTE, std::ssize(notes), &count, notes.data()));
  notes.resize(static_cast<std::size_t>(count));
  return notes;
}

bool Descriptor::has_behaviour(cudnnBackendBehaviorNote_t note) const {
  std::array<cudnnBackendBehaviorNote_t, CUDNN_BEHAVIOR_NOTE_TYPE_COUNT> notes{};
  std::int64_t count = 0;
  STAGEWISE_CHECK(cudnnBackendGetAttribute(get(), CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
                                           std::ssize(notes), &count, notes.data()));
  return std::find(notes.begin(), notes.begin() + count, note) != notes.begin() + count;
}

std::string Descriptor::get_text(cudnnBackendAttributeName_t name) const {
  std::int64_t length = 0;
  if (cudnnBackendGetAttribute(get(), name, CUDNN_TYPE_CHAR, 0, &length, nullptr) != CUDNN_STATUS_SUCCESS) return "";
  std::string text(static_cast<std::size_t>(length), '\0');
  STAGEWISE_CHECK(cudnnBackendGetAttribute(get(), name, CUDNN_TYPE_CHAR, length, &length, text.data()));
  text.resize(text.find_last_not_of('\0') + 1);
  return text;
}

std::int64_t Descriptor::get_descriptors(cudnnBackendAttributeName_t name,
                                         std::span<const Descriptor> descriptors) const {
  std::vector<cudnnBackendDescriptor_t> handles;
  for (const Descriptor& descriptor : descriptors) handles.push_back(descriptor.get());
  std::int64_t count = 0;
  STAGEWISE_CHECK(cudnnBackendGetAttribute(get(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::ssize(handles), &count,
                                           handles.empty() ? nullptr : static_cast<void*>(handles.data())));
  return count;
}

TensorId Graph::add(TensorId id, const Shape& shape, DType dtype, bool intermediate) {
  require(shape.rank() == 4, "[cudnn] expected a tensor of four axes, got ", shape);
  const std::int64_t N = shape[0], H = shape[1], W = shape[2], C = shape[3];
  const std::array<std::int64_t, 4> sizes{N, C, H, W}, strides{H * W * C, 1, W * C, C};
  Descriptor tensor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, data_type(dtype));
  tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::span<const std::int64_t>(sizes));
  tensor.set(CUDNN_ATTR_TENSOR_STRIDES, std::span<const std::int64_t>(strides));
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16});
  tensor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, intermediate);
  tensor.finalise(concat("a tensor ", shape));
  require(nodes_.emplace(id, Node{shape, std::move(tensor)}).second, "[cudnn] two tensors of a graph are number ", id);
  return id;
}

TensorId Graph::tensor(TensorId id, const Shape& shape, DType dtype) { return add(id, shape, dtype, false); }

TensorId Graph::per_channel(TensorId id, std::int64_t channels) {
  return add(id, {1, 1, 1, channels}, DType::float32, false);
}

TensorId Graph::intermediate(const Shape& shape, DType dtype) {
  return add(-1 - std::ssize(nodes_), shape, dtype, true);  // the caller's numbers are not negative
}

void Graph::finish(Descriptor operation, const std::string& what) {
  operation.finalise(what);
  operations_.push_back(std::move(operation));
}

void Graph::require_channels(const char* what, TensorId values, TensorId map) const {
  const Shape &small = shape_of(values), &pixels = shape_of(map);
  require(small == pixels || (small.count() == small.back() && small.back() == pixels.back()), "[cudnn] expected ",
          what, " of shape ", pixels, " or of one value for each of its ", pixels.back(), " channels, got ", small);
}

void Graph::convolution_forward(TensorId x, TensorId weight, TensorId y, const Conv2dOptions& options, Output output) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, at(x));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, at(weight));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, at(y));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution(options));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0F);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, output == Output::add ? 1.0F : 0.0F);
  finish(std::move(operation), concat("convolution of ", shape_of(x), " with ", shape_of(weight), " to ", shape_of(y)));
}

void Graph::convolution_backward_data(TensorId dy, TensorId weight, TensorId dx, const Conv2dOptions& options,
                                      Output output) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, at(dy));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, at(weight));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, at(dx));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, convolution(options));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 1.0F);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, output == Output::add ? 1.0F : 0.0F);
  finish(std::move(operation),
         concat("convolution by data of ", shape_of(dy), " with ", shape_of(weight), " to ", shape_of(dx)));
}

void Graph::convolution_backward_weights(TensorId x, TensorId dy, TensorId d_weight, const Conv2dOptions& options) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, at(x));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, at(dy));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, at(d_weight));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, convolution(options));
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, 1.0F);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, 0.0F);
  finish(std::move(operation),
         concat("convolution by weights of ", shape_of(x), " with ", shape_of(dy), " to ", shape_of(d_weight)));
}

void Graph::pointwise(cudnnPointwiseMode_t mode, TensorId x, TensorId b, TensorId y) {
  require_channels("an operand", b, x);
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise_descriptor(mode));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, at(x));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, at(b));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, at(y));
  finish(std::move(operation), concat("an operation on ", shape_of(x), " and ", shape_of(b), " to ", shape_of(y)));
}

void Graph::pointwise(cudnnPointwiseMode_t mode, TensorId x, TensorId y) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise_descriptor(mode));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, at(x));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, at(y));
  finish(std::move(operation), concat("an operation on ", shape_of(x), " to ", shape_of(y)));
}

}  // namespace stagewise::cudnn
