// Plan files as people bring them: the same when written and read again, and refused, with the reason, when they are none
// or have changed.
#include "cuda/plan_file.h"

#include <gtest/gtest.h>

#include "tensor/error.h"

namespace stagewise {
namespace {

const std::string kFirst =
    "forward, [128,32,32,16] with [16,3,3,16] to [128,32,32,16], stride 1, padding 1, maps "
    "float32, filters float32";
const std::string kSecond =
    "by data, [128,32,32,16] with [16,3,3,16] to [128,32,32,16], stride 1, padding 1, maps "
    "float32, filters float32";

PlanFile some_plans() {
  PlanFile file{.device = {.device = "Card 9, compute capability 9.0", .driver = "13.0", .cudnn = "9.19.0"},
                .plans = {}};
  file.plans[kFirst] = {.engine = kCudnnEngine,
                        .description = "engine 45 (tensor cores), TILE_SIZE 1",
                        .microseconds = 7.25,
                        .slower = {{"engine 1", 9.5}, {"our direct kernel", 81.0}},
                        .plan = R"({"engine":{"engineId":45},"text":"\u00e9\n"})"};
  file.plans[kSecond] = {
      .engine = kInParts, .description = "our direct kernel", .microseconds = 3.0, .slower = {}, .plan = {}};
  return file;
}

std::string refusal(const std::string& text) {
  try {
    PlanFile::from_json(text, "my.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// The file with the first `from` replaced, which must be there.
std::string changed(const std::string& from, const std::string& to) {
  std::string text = some_plans().to_json();
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(PlanFile, IsTheSameWhenItIsWrittenAndReadAgain) {
  const PlanFile file = some_plans();
  EXPECT_EQ(PlanFile::from_json(file.to_json(), "my.json"), file);
  EXPECT_EQ(PlanFile::from_json(PlanFile{}.to_json(), "my.json"), PlanFile{});
}

TEST(PlanFile, SaysWhatIsWrongWithOne) {
  const auto expect = [](const std::string& text, const std::string& words) {
    const std::string said = refusal(text);
    EXPECT_NE(said.find("[plans] `my.json` is no plan file"), std::string::npos) << said;
    EXPECT_NE(said.find(words), std::string::npos) << said;
  };
  expect("", "parse error");
  expect("[]", "\"format\": \"stagewise plans 1\"");
  expect("{}", "\"format\": \"stagewise plans 1\"");
  expect(changed("plans 1", "plans 2"), "\"format\": \"stagewise plans 1\"");
  expect(changed("\"cudnn\": \"9.19.0\"", "\"cudnn\": 9.19"), "must be string");
  expect(changed("\"driver\"", "\"drivel\""), "key 'driver' not found");
  expect(some_plans().to_json().substr(0, 400), "parse error");
  expect(changed("7.25", "-7.25"), "the plan for a " + kFirst + ": a time that is none");
  expect(R"({"format":"stagewise plans 1","device":"a","driver":"b","cudnn":"c","convolutions":[]})",
         "expected an object as convolutions, got array");
}

/// Of another convolution, cuDNN would run it beyond the tensors' ends.
TEST(PlanFile, RefusesPlansThatHaveChangedSinceTheyWereWritten) {
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"\\\"engineId\\\":45", "\\\"engineId\\\":46"},
                                 {"forward, [128", "forward, [256"},
                                 {"\"engine\": \"parts\"", "\"engine\": \"cudnn\", \"plan\": \"{}\""}}) {
    EXPECT_NE(refusal(changed(from, to)).find("it has changed since it was written: tune again"), std::string::npos)
        << from << ": " << refusal(changed(from, to));
  }
  EXPECT_NE(refusal(changed("\"engine\": \"parts\"", "\"engine\": \"new\"")).find("`new` is none of this version's"),
            std::string::npos);
  EXPECT_NE(refusal(changed("\"engine\": \"cudnn\"", "\"engine\": \"parts\"")).find("with a plan of cuDNN's"),
            std::string::npos);
}

TEST(PlanDevice, SaysAllThatPlansDependOn) {
  EXPECT_EQ(some_plans().device.text(), "Card 9, compute capability 9.0, a driver for CUDA 13.0, cuDNN 9.19.0");
}

}  // namespace
}  // namespace stagewise
