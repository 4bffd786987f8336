// The backend API of the stand-in libcudnn: what its callers see. Like the real one it computes nothing before
// cudnnBackendExecute, and that only queues (cudnn_execute.cpp).
#include <algorithm>
#include <cstring>
#include <map>

#include "cudnn_descriptors.h"
#include "cudnn_execute.h"

namespace {

using namespace softgpu::cudnn;

thread_local std::string last_words;

/// Descriptors alive, by the handles that the caller has. One that was destroyed is not found, but lives on in those
/// that refer to it.
std::map<void*, std::shared_ptr<Descriptor>>& living() {
  static auto* const descriptors = new std::map<void*, std::shared_ptr<Descriptor>>;
  return *descriptors;
}

Descriptor& find(cudnnBackendDescriptor_t handle) {
  const auto found = living().find(handle);
  if (found == living().end())
    throw Refusal{CUDNN_STATUS_BAD_PARAM, "a descriptor that doesn't exist or was destroyed"};
  return *found->second;
}

template <class Body>
cudnnStatus_t api(const Body& body) {
  try {
    last_words.clear();
    body();
    return CUDNN_STATUS_SUCCESS;
  } catch (const Refusal& refusal) {
    last_words = refusal.words;
    return refusal.status;
  } catch (const std::out_of_range&) {
    last_words = "an attribute has no value";
    return CUDNN_STATUS_BAD_PARAM;
  }
}

std::size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR: return 8;
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR: return 1;
    default: return 4;  // float and the enumerations
  }
}

template <class T>
void give(T value, std::int64_t* count, void* elements) {
  *count = 1;
  std::memcpy(elements, &value, sizeof value);
}

/// Fills the engine configurations that the caller created.
void give_configurations(const Descriptor& heuristics, std::int64_t requested, std::int64_t* count, void* elements) {
  const Attribute& graph = heuristics.attribute(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
  const bool fallback = heuristics.get<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_FALLBACK;
  const std::vector<Engine> engines = fallback ? std::vector<Engine>{} : engines_of(*graph.descriptors[0]);
  *count = static_cast<std::int64_t>(engines.size());
  auto* const handles = static_cast<cudnnBackendDescriptor_t*>(elements);
  for (std::int64_t i = 0; i < std::min(requested, *count); ++i) {
    auto engine = std::make_shared<Descriptor>();
    engine->type = CUDNN_BACKEND_ENGINE_DESCRIPTOR;
    engine->finalised = true;
    Attribute index{CUDNN_TYPE_INT64, 1, std::vector<std::byte>(8), {}};
    std::memcpy(index.bytes.data(), &engines[static_cast<std::size_t>(i)].index, 8);
    engine->attributes[CUDNN_ATTR_ENGINE_GLOBAL_INDEX] = index;
    engine->attributes[CUDNN_ATTR_ENGINE_OPERATION_GRAPH] = graph;
    Descriptor& configuration = find(handles[i]);
    configuration.finalised = true;
    configuration.attributes[CUDNN_ATTR_ENGINECFG_ENGINE] = {CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, {}, {engine}};
  }
}

void give_notes(const Descriptor& engine, std::int64_t requested, std::int64_t* count, void* elements) {
  const Descriptor& graph = engine.descriptor(CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
  for (const Engine& candidate : engines_of(graph)) {
    if (candidate.index != engine.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX)) continue;
    *count = static_cast<std::int64_t>(candidate.notes.size());
    const auto given = static_cast<std::size_t>(std::min(requested, *count));
    std::copy_n(candidate.notes.begin(), given, static_cast<cudnnBackendNumericalNote_t*>(elements));
  }
}

void give_behaviour(const Descriptor& engine, std::int64_t* count, void* elements) {
  *count = 0;
  for (const Engine& candidate : engines_of(engine.descriptor(CUDNN_ATTR_ENGINE_OPERATION_GRAPH))) {
    if (candidate.index != engine.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX) || !candidate.compiled) continue;
    give(CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION, count, elements);
  }
}

void give_text(const std::string& text, std::int64_t requested, std::int64_t* count, void* elements) {
  *count = static_cast<std::int64_t>(text.size());
  if (requested > 0) std::memcpy(elements, text.data(), static_cast<std::size_t>(std::min(requested, *count)));
}

}  // namespace

extern "C" {

std::size_t cudnnGetVersion() { return CUDNN_VERSION; }

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS: return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED: return "CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED";
    case CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER: return "CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER";
    case CUDNN_STATUS_BAD_PARAM_NULL_POINTER: return "CUDNN_STATUS_BAD_PARAM_NULL_POINTER";
    case CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH: return "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH";
    default: return CUDNN_STATUS_CATEGORY(status) == 3000 ? "CUDNN_STATUS_NOT_SUPPORTED" : "a cuDNN error";
  }
}

void cudnnGetLastErrorString(char* message, std::size_t size) {
  if (size == 0) return;
  std::strncpy(message, last_words.c_str(), size - 1);
  message[size - 1] = '\0';
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return CUDNN_STATUS_NOT_INITIALIZED;
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  *stream = handle->stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  return api([&] {
    auto made = std::make_shared<Descriptor>();
    made->type = type;
    *descriptor = made.get();
    living()[*descriptor] = std::move(made);
  });
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  return api([&] {
    find(descriptor);
    living().erase(descriptor);
  });
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t handle) {
  return api([&] {
    Descriptor& descriptor = find(handle);
    if (descriptor.has(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION)) {
      const auto text = descriptor.list<char>(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
      descriptor.attributes[CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG] = {
          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, {}, {configuration_from({text.begin(), text.end()})}};
    }
    check(descriptor);
    descriptor.finalised = true;
  });
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t handle, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t count, const void* elements) {
  return api([&] {
    Descriptor& descriptor = find(handle);
    if (descriptor.finalised) throw Refusal{CUDNN_STATUS_BAD_PARAM, "a finalised descriptor can't be changed"};
    if (elements == nullptr && count > 0) throw Refusal{CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no elements"};
    Attribute attribute{type, count, {}, {}};
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
      for (std::int64_t i = 0; i < count; ++i) {
        const auto other = static_cast<const cudnnBackendDescriptor_t*>(elements)[i];
        if (!find(other).finalised) throw Refusal{CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a part is not finalised"};
        attribute.descriptors.push_back(living().at(other));
      }
    } else {
      attribute.bytes.resize(static_cast<std::size_t>(count) * size_of(type));
      std::memcpy(attribute.bytes.data(), elements, attribute.bytes.size());
    }
    descriptor.attributes[name] = std::move(attribute);
  });
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const handle, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, std::int64_t requested, std::int64_t* count,
                                       void* elements) {
  return api([&] {
    const Descriptor& descriptor = find(handle);
    if (!descriptor.finalised) throw Refusal{CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "read before it is finalised"};
    switch (name) {
      case CUDNN_ATTR_ENGINEHEUR_RESULTS: return give_configurations(descriptor, requested, count, elements);
      case CUDNN_ATTR_ENGINECFG_ENGINE:
        *count = 1;
        find(*static_cast<cudnnBackendDescriptor_t*>(elements)) = descriptor.descriptor(name);
        return;
      case CUDNN_ATTR_ENGINE_GLOBAL_INDEX: return give(descriptor.get<std::int64_t>(name), count, elements);
      case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE: return give_notes(descriptor, requested, count, elements);
      case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE: return give_behaviour(descriptor, count, elements);
      case CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION:
        return give_text(serialised(descriptor), requested, count, elements);
      case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE: return give(workspace_bytes(descriptor), count, elements);
      default: throw Refusal{CUDNN_STATUS_NOT_SUPPORTED, "reading attribute " + std::to_string(name)};
    }
  });
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
  return api([&] {
    if (!find(plan).finalised || !find(pack).finalised) {
      throw Refusal{CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a plan or its addresses are not finalised"};
    }
    execute(handle->stream, find(plan), find(pack));
  });
}

}  // extern "C"
