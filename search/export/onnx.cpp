// The graph once more (layers/graph.h), node by node as ONNX's operators:
//   https://github.com/onnx/onnx/blob/main/docs/Operators.md
#include "search/export/onnx.h"

#include <onnx/onnx_pb.h>

#include <array>

#include "layers/inference.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

// What they all read: ONNX Runtime 1.6, Debian 12's OpenCV.
constexpr int kIrVersion = 7, kOperatorSet = 13;

/// Filters KRSC as KCRS.
std::vector<float> as_kcrs(const Tensor& filters) {
  const Shape& shape = filters.shape();
  const std::vector<float> krsc = filters.to_host<float>();
  std::vector<float> kcrs(krsc.size());
  auto to = kcrs.begin();
  for (std::int64_t k = 0; k < shape[0]; ++k) {
    for (std::int64_t c = 0; c < shape[3]; ++c) {
      for (std::int64_t pixel = 0; pixel < shape[1] * shape[2]; ++pixel) {
        *to++ = krsc[static_cast<std::size_t>((k * shape[1] * shape[2] + pixel) * shape[3] + c)];
      }
    }
  }
  return kcrs;
}

/// Appends nodes to a graph. What a node gives has the node's name.
class Writer {
 public:
  Writer(const Network& network, bool keep_batch_norms, onnx::GraphProto& graph)
      : network_(network), keep_batch_norms_(keep_batch_norms), graph_(graph) {}

  onnx::NodeProto& add(const std::string& type, const std::string& name, const std::vector<std::string>& inputs) {
    onnx::NodeProto& node = *graph_.add_node();
    node.set_op_type(type);
    node.set_name(name);
    for (const std::string& input : inputs) node.add_input(input);
    node.add_output(name);
    return node;
  }

  std::string constant(const std::string& name, const std::vector<std::int64_t>& shape,
                       const std::vector<float>& values) {
    onnx::TensorProto& tensor = *graph_.add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    for (const std::int64_t size : shape) tensor.add_dims(size);
    tensor.set_raw_data(values.data(), values.size() * sizeof(float));
    return name;
  }

  std::string whole_numbers(const std::string& name, const std::vector<std::int64_t>& values) {
    onnx::TensorProto& tensor = *graph_.add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::INT64);
    tensor.add_dims(static_cast<std::int64_t>(values.size()));
    tensor.set_raw_data(values.data(), values.size() * sizeof(std::int64_t));
    return name;
  }

  /// pixel * scale - offset.
  std::string normalise(const std::string& images, const Normalisation& normalisation);
  /// The last node's name, of what this one makes of `x`.
  std::string node(const Node& node, const std::string& x);

 private:
  std::string channels(const std::string& name, const Tensor& values) {
    return constant(name, {values.count()}, values.to_host<float>());
  }
  std::string convolve(const Convolution& convolution, const std::string& x);
  std::string normalise(const BatchNorm& batch_norm, const std::string& x);
  std::string pad_shortcut(const std::string& name, const std::string& x, const ShortcutPadding& padding,
                           std::int64_t zeros_behind);
  std::string block(const Node& node, const ResidualBlockNode& block, const std::string& x);
  std::string batch_norm(const std::string& name, const std::string& x, const BatchNormParameters& parameters);
  /// `parameters`: the names of weight, bias, mean and variance.
  std::string batch_norm(const std::string& name, const std::string& x, const std::array<std::string, 4>& parameters,
                         double epsilon);
  std::string relu(const std::string& name, const std::string& x) { return add("Relu", name + ".relu", {x}).name(); }

  const Network& network_;
  const bool keep_batch_norms_;
  onnx::GraphProto& graph_;
};

void set(onnx::NodeProto& node, const std::string& name, const std::vector<std::int64_t>& values) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::INTS);
  for (const std::int64_t value : values) attribute.add_ints(value);
}

void set(onnx::NodeProto& node, const std::string& name, std::int64_t value) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::INT);
  attribute.set_i(value);
}

void set(onnx::NodeProto& node, const std::string& name, float value) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::FLOAT);
  attribute.set_f(value);
}

std::string Writer::normalise(const std::string& images, const Normalisation& normalisation) {
  const auto& [scale, offset] = normalisation;
  const Shape& image = network_.active_graph().input;
  const auto channels = image[3];
  bool same_everywhere = true;
  std::vector<float> planes;  // [C,H,W]
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t pixel = 0; pixel < image[1] * image[2]; ++pixel) {
      planes.push_back(offset[static_cast<std::size_t>(pixel * channels + c)]);
      same_everywhere &= planes.back() == offset[static_cast<std::size_t>(c)];
    }
  }
  if (!same_everywhere) {
    constant("normalisation.scale", {1, channels, 1, 1}, scale);
    constant("normalisation.offset", {1, channels, image[1], image[2]}, planes);
    add("Mul", "normalisation.scaled", {images, "normalisation.scale"});
    return add("Sub", "normalisation", {"normalisation.scaled", "normalisation.offset"}).name();
  }
  // Debian 12's OpenCV gets a Sub of [1,C,1,1] wrong, so this is the batch norm that does the same.
  std::vector<float> minus_offset;
  for (std::int64_t c = 0; c < channels; ++c) minus_offset.push_back(-offset[static_cast<std::size_t>(c)]);
  const std::vector<float> zero(minus_offset.size()), one(minus_offset.size(), 1.0F);
  const std::string name = "normalisation";
  return batch_norm(name, images,
                    {constant(name + ".scale", {channels}, scale), constant(name + ".bias", {channels}, minus_offset),
                     constant(name + ".zero", {channels}, zero), constant(name + ".one", {channels}, one)},
                    /*epsilon=*/0.0);
}

std::string Writer::batch_norm(const std::string& name, const std::string& x,
                               const std::array<std::string, 4>& parameters, double epsilon) {
  onnx::NodeProto& node = add("BatchNormalization", name, {x});
  for (const std::string& parameter : parameters) node.add_input(parameter);
  set(node, "epsilon", static_cast<float>(epsilon));
  return name;
}

std::string Writer::convolve(const Convolution& convolution, const std::string& x) {
  const std::string &name = convolution.name, &norm = convolution.batch_norm;
  const Shape& filter = convolution.filter;  // KRSC
  const Conv2dOptions& options = convolution.options;
  const ConvolutionParameters& parameters = network_.convolution(name);
  const bool keep = !norm.empty() && keep_batch_norms_;
  FoldedConvolution ready;
  if (!keep) ready = fold(convolution, parameters);
  if (keep) ready.weight = parameters.weight.value();
  if (keep && convolution.bias) ready.bias = parameters.bias.value();

  onnx::NodeProto& node = add("Conv", name, {x});
  node.add_input(constant(name + ".weight", {filter[0], filter[3], filter[1], filter[2]}, as_kcrs(ready.weight)));
  if (ready.bias.defined()) node.add_input(channels(name + ".bias", ready.bias));
  set(node, "kernel_shape", {filter[1], filter[2]});
  set(node, "strides", {options.stride, options.stride});
  set(node, "pads", {options.padding_before, options.padding_before, options.padding_after, options.padding_after});
  if (!keep) return name;
  return batch_norm(norm, name, parameters.batch_norm);
}

std::string Writer::batch_norm(const std::string& name, const std::string& x, const BatchNormParameters& parameters) {
  return batch_norm(
      name, x,
      {channels(name + ".weight", parameters.weight.value()), channels(name + ".bias", parameters.bias.value()),
       channels(name + ".running_mean", parameters.running_mean),
       channels(name + ".running_variance", parameters.running_variance)},
      parameters.epsilon);
}

/// A batch norm that is behind no convolution, and its ReLU.
std::string Writer::normalise(const BatchNorm& norm, const std::string& x) {
  return relu(norm.name, batch_norm(norm.name, x, network_.batch_norm(norm.name)));
}

/// Every `stride`-th pixel, and channels of zeros round it.
std::string Writer::pad_shortcut(const std::string& name, const std::string& x, const ShortcutPadding& padding,
                                 std::int64_t zeros_behind) {
  const std::string end = whole_numbers(name + ".ends", {INT64_MAX, INT64_MAX});
  add("Slice", name + ".pixels",
      {x, whole_numbers(name + ".starts", {0, 0}), end, whole_numbers(name + ".axes", {2, 3}),
       whole_numbers(name + ".steps", {padding.stride, padding.stride})});
  return add("Pad", name,
             {name + ".pixels", whole_numbers(name + ".pads", {0, padding.zeros_before, 0, 0, 0, zeros_behind, 0, 0})})
      .name();
}

std::string Writer::block(const Node& node, const ResidualBlockNode& block, const std::string& x) {
  const std::vector<const Convolution*> branch = block.branch();
  std::string value = block.pre_activation ? normalise(*block.pre_activation, x) : x, skip = x;
  const std::string read = value;
  for (const Convolution* const one : branch) {
    value = convolve(*one, value);
    if (one != branch.back()) value = relu(one->name, value);
  }
  if (block.projection) skip = convolve(*block.projection, read);
  if (block.padding) {
    const std::int64_t behind = node.output[3] - branch.front()->input[3] - block.padding->zeros_before;
    skip = pad_shortcut(node.name + ".padding", x, *block.padding, behind);
  }
  const std::string sum = add("Add", node.name + ".sum", {value, skip}).name();
  return block.pre_activation ? sum : relu(node.name, sum);
}

std::string Writer::node(const Node& node, const std::string& x) {
  const ByKind by_kind{
      [&](const StemNode& stem) {
        const std::string y = convolve(stem.convolution, x);
        return stem.convolution.batch_norm.empty() ? y : relu(node.name, y);
      },
      [&](const MaxPoolNode& of) {
        onnx::NodeProto& pool = add("MaxPool", node.name, {x});
        const std::int64_t before = of.options.padding_before, after = of.options.padding_after;
        set(pool, "kernel_shape", {of.window, of.window});
        set(pool, "strides", {of.options.stride, of.options.stride});
        set(pool, "pads", {before, before, after, after});
        return node.name;
      },
      [&](const ResidualBlockNode& residual) { return block(node, residual, x); },
      [&](const BatchNormNode& end) { return normalise(end.batch_norm, x); },
      [&](const GlobalAveragePoolNode&) {
        add("GlobalAveragePool", node.name, {x});
        onnx::NodeProto& flat = add("Flatten", node.name + ".flat", {node.name});
        set(flat, "axis", std::int64_t{1});
        return flat.name();
      },
      [&](const LinearNode& linear) {
        const std::string weight = constant(node.name + ".weight", {linear.outputs, linear.inputs},
                                            network_.classifier_weight().value().to_host<float>());
        const std::string bias = channels(node.name + ".bias", network_.classifier_bias().value());
        onnx::NodeProto& product = add("Gemm", "logits", {x, weight, bias});
        set(product, "transB", std::int64_t{1});
        return product.name();
      },
  };
  return std::visit(by_kind, node.kind);
}

/// float32 [batch, sizes...], any number in a batch.
void describe(onnx::ValueInfoProto& value, const std::string& name, const std::vector<std::int64_t>& sizes) {
  value.set_name(name);
  onnx::TypeProto::Tensor& type = *value.mutable_type()->mutable_tensor_type();
  type.set_elem_type(onnx::TensorProto::FLOAT);
  type.mutable_shape()->add_dim()->set_dim_param("batch");
  for (const std::int64_t size : sizes) type.mutable_shape()->add_dim()->set_dim_value(size);
}

}  // namespace

std::string onnx_file(const Network& network, const Normalisation& normalisation, const OnnxOptions& options) {
  const Graph& graph = network.active_graph();
  onnx::ModelProto model;
  model.set_ir_version(kIrVersion);
  model.add_opset_import()->set_version(kOperatorSet);
  model.set_producer_name("stagewise");
  model.set_doc_string("images: RGB from 0 to 255, upright, of the size that the input has. Normalisation is inside.");
  for (const auto& [key, value] : options.about) {
    onnx::StringStringEntryProto& entry = *model.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  onnx::GraphProto& proto = *model.mutable_graph();
  proto.set_name("network");
  describe(*proto.add_input(), "images", {graph.input[3], graph.input[1], graph.input[2]});
  describe(*proto.add_output(), "logits", {network.architecture().classes});
  Writer writer(network, options.keep_batch_norms, proto);
  std::string value = writer.normalise("images", normalisation);
  for (const Node& node : graph.nodes) value = writer.node(node, value);
  return model.SerializeAsString();
}

}  // namespace stagewise
