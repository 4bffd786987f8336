// The stand-in cuDNN's plans as text: the configuration's tree of descriptors, attribute by attribute. What a handle is,
// no file can know.
#include <nlohmann/json.hpp>

#include "cudnn_descriptors.h"

namespace softgpu::cudnn {
namespace {

using nlohmann::json;

json tree_of(const Descriptor& descriptor) {
  json attributes = json::array();
  for (const auto& [name, attribute] : descriptor.attributes) {
    if (attribute.type == CUDNN_TYPE_HANDLE) continue;
    json parts = json::array(), bytes = json::array();
    for (const DescriptorPtr& part : attribute.descriptors) parts.push_back(tree_of(*part));
    for (const std::byte byte : attribute.bytes) bytes.push_back(std::to_integer<int>(byte));
    attributes.push_back({name, attribute.type, attribute.count, bytes, parts});
  }
  return {{"type", descriptor.type}, {"attributes", attributes}};
}

DescriptorPtr descriptor_from(const json& tree) {
  auto made = std::make_shared<Descriptor>();
  made->type = tree.at("type").get<cudnnBackendDescriptorType_t>();
  made->finalised = true;
  for (const json& entry : tree.at("attributes")) {
    Attribute& attribute = made->attributes[entry.at(0).get<int>()];
    attribute.type = entry.at(1).get<cudnnBackendAttributeType_t>();
    attribute.count = entry.at(2).get<std::int64_t>();
    for (const json& byte : entry.at(3)) attribute.bytes.push_back(static_cast<std::byte>(byte.get<int>()));
    for (const json& part : entry.at(4)) attribute.descriptors.push_back(descriptor_from(part));
  }
  return made;
}

}  // namespace

std::string serialised(const Descriptor& plan) {
  return json{{"cudnnVersion", CUDNN_VERSION},
              {"configuration", tree_of(plan.descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG))}}
      .dump();
}

DescriptorPtr configuration_from(const std::string& text) {
  try {
    const json plan = json::parse(text);
    if (plan.at("cudnnVersion") != CUDNN_VERSION) {
      throw Refusal{CUDNN_STATUS_NOT_SUPPORTED, "a serialised plan of another version"};
    }
    return descriptor_from(plan.at("configuration"));
  } catch (const json::exception& error) {
    throw Refusal{CUDNN_STATUS_BAD_PARAM, std::string("no serialised plan: ") + error.what()};
  }
}

}  // namespace softgpu::cudnn
