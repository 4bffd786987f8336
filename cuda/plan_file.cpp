#include "cuda/plan_file.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/xxh64.h"

namespace stagewise {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "stagewise plans 1";

/// Of a convolution and its plan: tells an edit or a mix-up, not a forgery. cuDNN would run another convolution's plan
/// without a word, beyond the tensors' ends.
std::string check_of(const std::string& convolution, const TunedPlan& tuned) {
  const std::string text = concat(convolution, '\n', tuned.engine, '\n', tuned.plan);
  return digest_text(xxh64(text.data(), text.size()));
}

double microseconds_from(const json& value) {
  const auto number = value.get<double>();
  if (!(number >= 0.0 && std::isfinite(number))) throw Error("a time that is none");
  return number;
}

const json::object_t& object_at(const json& parent, const char* name) {
  const json& child = parent.at(name);
  require(child.is_object(), "expected an object as ", name, ", got ", child.type_name());
  return child.get_ref<const json::object_t&>();
}

TunedPlan tuned_from(const std::string& convolution, const json& entry) {
  TunedPlan tuned{.engine = entry.at("engine").get<std::string>(),
                  .description = entry.at("description").get<std::string>(),
                  .microseconds = microseconds_from(entry.at("microseconds")),
                  .slower = {},
                  .plan = entry.value("plan", "")};
  for (const auto& [name, time] : object_at(entry, "slower")) tuned.slower[name] = microseconds_from(time);
  require(tuned.engine == kCudnnEngine || tuned.engine == kOwnEngine || tuned.engine == kInParts, "the engine `",
          tuned.engine, "` is none of this version's: tune again");
  require((tuned.engine == kCudnnEngine) == !tuned.plan.empty(), "the engine `", tuned.engine,
          tuned.plan.empty() ? "` without" : "` with", " a plan of cuDNN's");
  require(entry.at("check").get<std::string>() == check_of(convolution, tuned),
          "it has changed since it was written: tune again");
  return tuned;
}

}  // namespace

std::string PlanDevice::text() const { return concat(device, ", a driver for CUDA ", driver, ", cuDNN ", cudnn); }

std::string PlanFile::to_json() const {
  using nlohmann::ordered_json;  // cuDNN's long text comes last
  ordered_json convolutions = ordered_json::object();
  for (const auto& [convolution, tuned] : plans) {
    ordered_json& entry = convolutions[convolution];
    entry["engine"] = tuned.engine;
    entry["description"] = tuned.description;
    entry["microseconds"] = tuned.microseconds;
    entry["slower"] = tuned.slower;
    entry["check"] = check_of(convolution, tuned);
    if (!tuned.plan.empty()) entry["plan"] = tuned.plan;
  }
  return ordered_json{{"format", kFormat},
                      {"device", device.device},
                      {"driver", device.driver},
                      {"cudnn", device.cudnn},
                      {"convolutions", convolutions}}
             .dump(1) +
         '\n';
}

PlanFile PlanFile::from_json(std::string_view text, const std::string& path) {
  std::string where;
  try {
    const json file = json::parse(text);
    require(file.is_object() && file.value("format", json()) == kFormat, "expected \"format\": \"", kFormat, "\"");
    PlanFile read{.device = {.device = file.at("device").get<std::string>(),
                             .driver = file.at("driver").get<std::string>(),
                             .cudnn = file.at("cudnn").get<std::string>()},
                  .plans = {}};
    for (const auto& [convolution, entry] : object_at(file, "convolutions")) {
      where = concat("the plan for a ", convolution, ": ");
      read.plans[convolution] = tuned_from(convolution, entry);
    }
    return read;
  } catch (const json::exception& error) {
    fail("[plans] `", path, "` is no plan file as `stagewise tune` writes them: ", where, error.what());
  } catch (const Error& error) {
    fail("[plans] `", path, "` is no plan file as `stagewise tune` writes them: ", where, error.what());
  }
}

}  // namespace stagewise
