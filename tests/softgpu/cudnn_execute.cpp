// Running a plan of the stand-in cuDNN: its operations one after another, on the host, as work of a stream. Sums are in
// double; a tensor's elements, also those of one that is never stored, are rounded to its type. The tensor-core engine
// rounds float32 operands of a convolution to TF32 first, so that it shows where one was chosen.
#include "cudnn_execute.h"

#include <cmath>
#include <functional>
#include <optional>

#include "cudnn_convolutions.h"
#include "softgpu.h"

namespace softgpu::cudnn {
namespace {

/// What a queued plan needs, copied: the caller's descriptors may be gone when it runs.
struct Job {
  std::vector<DescriptorPtr> operations;
  std::map<std::int64_t, void*> addresses;  // by uid
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
  bool tensor_cores = false, wrong = false;
};

/// Work that reached for memory it may not touch; it has been reported.
struct Stopped {};

float round_to_bfloat16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (value == value) bits += 0x7fff + (bits >> 16 & 1);  // to nearest, ties to even
  bits &= 0xffff0000;
  std::memcpy(&value, &bits, 4);
  return value;
}

float round_to_tf32(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (std::isfinite(value)) bits += 0x1000;  // to nearest, ties away from zero, as cvt.rna does
  bits &= 0xffffe000;
  std::memcpy(&value, &bits, 4);
  return value;
}

class Run {
 public:
  explicit Run(const Job& job) : job_(job) {}

  void all() {
    // Two plans must not share a workspace that both think theirs: whatever else lies there is gone.
    std::memset(host(job_.workspace, job_.workspace_bytes, true), 0xff, job_.workspace_bytes);
    std::vector<DescriptorPtr> waiting = job_.operations;
    while (!waiting.empty()) {
      std::vector<DescriptorPtr> later;
      for (const DescriptorPtr& operation : waiting) {
        if (ready(*operation)) {
          run(*operation);
        } else {
          later.push_back(operation);
        }
      }
      if (later.size() == waiting.size()) {
        softgpu_report("an operation of the graph needs an intermediate tensor that none computes");
        throw Stopped{};
      }
      waiting = std::move(later);
    }
  }

 private:
  void* host(const void* address, std::size_t bytes, bool write) {
    void* const found = softgpu_translate(address, bytes, write ? 1 : 0);
    if (found == nullptr) throw Stopped{};
    return found;
  }

  /// Whether the operation's inputs are there: in memory, or computed unless another operation still has to.
  bool ready(const Descriptor& operation) const {
    for (const auto name : tensors_of(operation.type).inputs) {
      if (!operation.has(name)) continue;
      const TensorInfo tensor(operation.descriptor(name));
      if (computed_.count(tensor.uid) == 0 && (tensor.is_virtual || made_by_graph(tensor.uid))) return false;
    }
    return true;
  }
  bool made_by_graph(std::int64_t uid) const {
    for (const DescriptorPtr& operation : job_.operations) {
      for (const auto name : tensors_of(operation->type).outputs) {
        if (TensorInfo(operation->descriptor(name)).uid == uid) return true;
      }
    }
    return false;
  }

  Values read(const Descriptor& descriptor) {
    const TensorInfo tensor(descriptor);
    const auto known = computed_.find(tensor.uid);
    if (known != computed_.end()) return known->second;
    return load(tensor);
  }

  Values load(const TensorInfo& tensor) {
    const void* const from = host(job_.addresses.at(tensor.uid), tensor.bytes(), false);
    Values values(static_cast<std::size_t>(tensor.count()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::uint32_t bits = 0;
      if (tensor.type == CUDNN_DATA_BFLOAT16) {
        bits = static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(from)[i]) << 16;
      } else {
        bits = static_cast<const std::uint32_t*>(from)[i];
      }
      float value;
      std::memcpy(&value, &bits, 4);
      values[i] = value;
    }
    return values;
  }

  void write(const Descriptor& descriptor, Values values) {
    const TensorInfo tensor(descriptor);
    const bool narrow = tensor.type == CUDNN_DATA_BFLOAT16;
    void* const to = tensor.is_virtual ? nullptr : host(job_.addresses.at(tensor.uid), tensor.bytes(), true);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto whole = static_cast<float>(job_.wrong ? 1.5 * values[i] : values[i]);
      const float value = narrow ? round_to_bfloat16(whole) : whole;
      values[i] = value;
      if (to == nullptr) continue;
      std::uint32_t bits;
      std::memcpy(&bits, &value, 4);
      if (narrow) {
        static_cast<std::uint16_t*>(to)[i] = static_cast<std::uint16_t>(bits >> 16);
      } else {
        static_cast<std::uint32_t*>(to)[i] = bits;
      }
    }
    computed_[tensor.uid] = std::move(values);
  }

  /// A convolution's operand, rounded as the engine does.
  Values operand(const Descriptor& descriptor) {
    Values values = read(descriptor);
    if (job_.tensor_cores && TensorInfo(descriptor).type == CUDNN_DATA_FLOAT) {
      for (double& value : values) value = round_to_tf32(static_cast<float>(value));
    }
    return values;
  }

  static ConvolutionSizes sizes(const Descriptor& x, const Descriptor& weight, const Descriptor& y,
                                const Descriptor& convolution) {
    const auto in = TensorInfo(x).sizes, filter = TensorInfo(weight).sizes, out = TensorInfo(y).sizes;
    const auto stride = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
    const auto padding = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
    return {in[0],
            in[2],
            in[3],
            in[1],
            out[2],
            out[3],
            filter[0],
            filter[2],
            filter[3],
            {stride[0], stride[1]},
            {padding[0], padding[1]}};
  }

  /// to = alpha * values + beta * what was there.
  void blend(const Descriptor& to, Values values, float alpha, float beta) {
    Values old;
    if (beta != 0) old = load(TensorInfo(to));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = alpha * values[i] + (beta != 0 ? beta * old[i] : 0.0);
    write(to, std::move(values));
  }

  void run(const Descriptor& operation) {
    switch (operation.type) {
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR: return forward(operation);
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR: return by_data(operation);
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR: return by_weights(operation);
      default: return pointwise(operation);
    }
  }

  void forward(const Descriptor& operation) {
    const Descriptor& x = operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X);
    const Descriptor& weight = operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W);
    const Descriptor& y = operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y);
    const auto all = sizes(x, weight, y, operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC));
    blend(y, convolve(all, operand(x), operand(weight)),
          operation.get<float>(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA),
          operation.get<float>(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA));
  }

  void by_data(const Descriptor& operation) {
    const Descriptor& dx = operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX);
    const Descriptor& weight = operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W);
    const Descriptor& dy = operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY);
    const auto all = sizes(dx, weight, dy, operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC));
    blend(dx, convolve_by_data(all, operand(dy), operand(weight)),
          operation.get<float>(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA),
          operation.get<float>(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA));
  }

  void by_weights(const Descriptor& operation) {
    const Descriptor& x = operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X);
    const Descriptor& d_weight = operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW);
    const Descriptor& dy = operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY);
    const auto all =
        sizes(x, d_weight, dy, operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC));
    blend(d_weight, convolve_by_weights(all, operand(x), operand(dy)),
          operation.get<float>(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA),
          operation.get<float>(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA));
  }

  void pointwise(const Descriptor& operation) {
    const Descriptor& mode = operation.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const Descriptor& from = operation.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
    const TensorInfo tensor(from);
    const Values x = read(from);
    Values b(1, 0.0);
    if (operation.has(CUDNN_ATTR_OPERATION_POINTWISE_BDESC)) {
      b = read(operation.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
    }
    Values y(x.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      // Channels lie innermost, so a value a channel repeats with their number.
      const double operand = b[i % b.size()];
      switch (mode.get<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE)) {
        case CUDNN_POINTWISE_ADD: y[i] = x[i] + operand; break;
        case CUDNN_POINTWISE_SUB: y[i] = x[i] - operand; break;
        case CUDNN_POINTWISE_MUL: y[i] = x[i] * operand; break;
        case CUDNN_POINTWISE_RELU_FWD: y[i] = x[i] < 0 ? 0.0 : x[i]; break;
        case CUDNN_POINTWISE_IDENTITY: y[i] = x[i]; break;
        default: softgpu_report("an element-wise operation that is not implemented"); throw Stopped{};
      }
    }
    write(operation.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_YDESC), std::move(y));
  }

  const Job& job_;
  std::map<std::int64_t, Values> computed_;  // what operations have written, by uid
};

void run_job(void* argument) {
  try {
    Run(*static_cast<const Job*>(argument)).all();
  } catch (const Stopped&) {
  }
}

void delete_job(void* argument) { delete static_cast<Job*>(argument); }

void check_addresses(const Job& job) {
  for (const DescriptorPtr& operation : job.operations) {
    const OperationTensors tensors = tensors_of(operation->type);
    for (const auto& names : {tensors.inputs, tensors.outputs}) {
      for (const auto name : names) {
        if (!operation->has(name)) continue;
        const TensorInfo tensor(operation->descriptor(name));
        if (tensor.is_virtual) continue;
        const auto found = job.addresses.find(tensor.uid);
        if (found == job.addresses.end() || found->second == nullptr) {
          throw Refusal{CUDNN_STATUS_BAD_PARAM_NULL_POINTER,
                        "no address for tensor " + std::to_string(tensor.uid) + " " + tensor.text()};
        }
        if (reinterpret_cast<std::uintptr_t>(found->second) % static_cast<std::uintptr_t>(tensor.alignment) != 0) {
          throw Refusal{CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER,
                        "tensor " + std::to_string(tensor.uid) + " lies less aligned than it says"};
        }
      }
    }
  }
}

}  // namespace

void execute(cudaStream_t stream, const Descriptor& plan, const Descriptor& pack) {
  auto job = std::make_unique<Job>();
  const Descriptor& engine =
      plan.descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).descriptor(CUDNN_ATTR_ENGINECFG_ENGINE);
  job->tensor_cores = engine.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX) == kTensorCoreEngine;
  job->wrong = engine.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX) == kWrongEngine;
  job->operations = operations_of(plan);
  const auto uids = pack.list<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto addresses = pack.list<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  for (std::size_t i = 0; i < uids.size(); ++i) job->addresses[uids[i]] = addresses[i];
  job->workspace = pack.get<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  job->workspace_bytes = static_cast<std::size_t>(workspace_bytes(plan));
  if (job->workspace == nullptr) throw Refusal{CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no workspace"};
  check_addresses(*job);
  softgpu_enqueue(stream, "cudnnBackendExecute", run_job, job.release(), delete_job);
}

}  // namespace softgpu::cudnn
