// Model files that other programs have read and written again, and what can still be made of them.
#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "cpu/cpu_backend.h"
#include "search/training/model_file.h"
#include "tensor/atomic_file.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

class ForeignModel : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path(name); }

  /// Two stages of three and one blocks for images of 8x6, running statistics and all drawn anew.
  Safetensors saved(Variant variant = Variant::standard, std::vector<std::int64_t> first_stage = {0, 1, 2}) {
    Architecture architecture = Architecture::of_depths({3, 1}, variant);
    architecture.stages[0].blocks = std::move(first_stage);
    architecture.height = 8;
    architecture.width = 6;
    architecture.classes = 3;
    const Network network(*backend_, architecture, 7);
    for (const auto& [name, tensor] : network.tensors()) {
      for (std::int64_t i = 0; i < tensor.count(); ++i)
        tensor.data<float>()[i] += 0.01F * static_cast<float>(i % 7 + 1);
    }
    std::vector<float> offset(8 * 6 * 3);
    for (std::size_t i = 0; i < offset.size(); ++i) offset[i] = static_cast<float>(i);
    save_model(path("ours.safetensors"), network, {.scale = {1, 2, 3}, .offset = offset}, {"cat", "dog", "eel"},
               "pets");
    return read_safetensors(path("ours.safetensors"));
  }

  /// What is loaded from `file`, written again by us.
  Safetensors through(const Safetensors& file) {
    write_safetensors(path("theirs.safetensors"), file);
    remarks_.clear();
    const Model model = load_model(*backend_, path("theirs.safetensors"), {},
                                   [&](const std::string& line) { remarks_ += line + "\n"; });
    save_model(path("again.safetensors"), *model.network, *model.normalisation, model.classes, model.data);
    return read_safetensors(path("again.safetensors"));
  }

  static void expect_same_tensors(const Safetensors& a, const Safetensors& b) {
    ASSERT_EQ(a.tensors.size(), b.tensors.size());
    for (const auto& [name, entry] : a.tensors) {
      ASSERT_TRUE(b.tensors.contains(name)) << name;
      EXPECT_EQ(entry.shape, b.tensors.at(name).shape) << name;
      EXPECT_EQ(entry.bytes, b.tensors.at(name).bytes) << name;
    }
  }

  std::string error_after(const std::function<void(Safetensors&)>& change) {
    Safetensors file = saved();
    file.metadata.clear();
    change(file);
    return message_of([&] { through(file); });
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend({.threads = 1});
  TemporaryFolder folder_;
  std::string remarks_;
};

TEST_F(ForeignModel, WithoutMetadataANetworkIsMadeOutFromItsTensorsAndItIsSaid) {
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    Safetensors file = saved(variant);
    const std::string architecture = file.metadata.at("architecture");
    file.metadata.clear();
    const Safetensors again = through(file);
    expect_same_tensors(file, again);
    EXPECT_EQ(Architecture::from_json(again.metadata.at("architecture")), Architecture::from_json(architecture));
    EXPECT_TRUE(contains(remarks_, path("theirs.safetensors") + "` has no metadata"));
    EXPECT_TRUE(contains(remarks_, "in the order of their numbers, its classes have no names"));
    EXPECT_FALSE(contains(remarks_, "32x32"));
  }
  Safetensors file = saved();
  through(file);
  EXPECT_EQ(remarks_, "");
  file.metadata.clear();
  file.tensors.erase("normalisation.scale");
  file.tensors.erase("normalisation.offset");
  write_safetensors(path("bare.safetensors"), file);
  const Architecture bare =
      load_architecture(path("bare.safetensors"), {}, [&](const std::string& line) { remarks_ += line; });
  EXPECT_EQ(bare.height, 32);
  EXPECT_TRUE(contains(remarks_, "its images to be 32x32"));
}

TEST_F(ForeignModel, ArchitectureJsonBesideItSettlesTheOrderOfTheBlocks) {
  Safetensors file = saved(Variant::standard, {0, 2, 1});
  const std::string architecture = file.metadata.at("architecture");
  folder_.write("architecture.json", architecture);
  file.metadata = {{"format", "pt"}};
  EXPECT_EQ(through(file).metadata.at("architecture"), architecture);
  EXPECT_TRUE(contains(remarks_, "its network is as `" + path("architecture.json") + "` says"));

  folder_.write("architecture.json", Architecture::of_depths({3, 2}).to_json());
  EXPECT_NE(through(file).metadata.at("architecture"), architecture);
  EXPECT_TRUE(contains(remarks_, "another network"));
  EXPECT_TRUE(contains(remarks_, "made out from its tensors"));
}

/// `file` with its weights as `Other`, by a library's rounding; and what they are then worth.
template <class Other>
std::pair<Safetensors, Safetensors> rounded(const Safetensors& file, DType dtype) {
  Safetensors stored = file, worth = file;
  for (const auto& [name, entry] : file.tensors) {
    const auto* const values = reinterpret_cast<const float*>(entry.bytes.data());
    auto& bytes = stored.tensors[name].bytes;
    stored.tensors[name].dtype = dtype;
    bytes.resize(static_cast<std::size_t>(entry.shape.count()) * sizeof(Other));
    for (std::int64_t i = 0; i < entry.shape.count(); ++i) {
      const auto other = static_cast<Other>(values[i]);
      const auto back = static_cast<float>(other);
      std::memcpy(bytes.data() + static_cast<std::size_t>(i) * sizeof other, &other, sizeof other);
      std::memcpy(worth.tensors[name].bytes.data() + static_cast<std::size_t>(i) * sizeof back, &back, sizeof back);
    }
  }
  return {stored, worth};
}

/// Writes what write_safetensors doesn't: tensors of two bytes an element as `type`.
void write_halves(const std::string& path, const Safetensors& file, const std::string& type) {
  nlohmann::json header{{"__metadata__", file.metadata}};
  std::string data;
  for (const auto& [name, entry] : file.tensors) {
    std::vector<std::int64_t> shape;
    shape.reserve(Shape::kMaxRank);
    for (int axis = 0; axis < entry.shape.rank(); ++axis) shape.push_back(entry.shape[axis]);
    header[name] = {
        {"dtype", type}, {"shape", shape}, {"data_offsets", {data.size(), data.size() + entry.bytes.size()}}};
    data.append(entry.bytes.begin(), entry.bytes.end());
  }
  const std::string text = header.dump();
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>((text.size() >> (8 * i)) & 0xff);
  write_file_atomically(path, bytes + text + data);
}

TEST_F(ForeignModel, HalfAndDoubleWeightsAreRead) {
  const Safetensors file = saved();
  const auto [halves, worth_of_halves] = rounded<Eigen::half>(file, DType::bfloat16);
  const auto [brains, worth_of_brains] = rounded<Eigen::bfloat16>(file, DType::bfloat16);
  const auto [doubles, worth_of_doubles] = rounded<double>(file, DType::float64);
  for (const auto& [stored, worth, type] :
       {std::tuple(&halves, &worth_of_halves, "F16"), std::tuple(&brains, &worth_of_brains, "BF16")}) {
    write_halves(path("half.safetensors"), *stored, type);
    expect_same_tensors(*worth, through(read_safetensors(path("half.safetensors"))));
  }
  expect_same_tensors(worth_of_doubles, through(doubles));
}

TEST_F(ForeignModel, PyTorchsNamesAndFiltersAreRead) {
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    const Safetensors file = saved(variant);
    Safetensors theirs = as_pytorch(file, Architecture::from_json(file.metadata.at("architecture")));
    EXPECT_EQ(theirs.tensors.at("stages.1.blocks.0.conv1.weight").shape, (Shape{32, 16, 3, 3}));
    EXPECT_EQ(theirs.tensors.at("normalisation.offset").shape, (Shape{3, 8, 6}));
    EXPECT_TRUE(theirs.tensors.contains("stem.batch_norm.running_var"));
    const auto* const ours = reinterpret_cast<const float*>(file.tensors.at("stem.conv.weight").bytes.data());
    const auto* const there = reinterpret_cast<const float*>(theirs.tensors.at("stem.conv.weight").bytes.data());
    EXPECT_EQ(there[((5 * 3 + 2) * 3 + 1) * 3 + 0], ours[((5 * 3 + 1) * 3 + 0) * 3 + 2]);  // filter 5, channel 2, (1,0)
    theirs.tensors["stem.batch_norm.num_batches_tracked"] = {DType::float64, {}, std::vector<unsigned char>(8)};
    Safetensors again = through(theirs);
    expect_same_tensors(file, again);
    EXPECT_EQ(again.metadata, file.metadata);
    theirs.metadata.clear();
    expect_same_tensors(file, through(theirs));
    EXPECT_TRUE(contains(remarks_, "no metadata"));
  }
}

TEST_F(ForeignModel, WhatWrapsAModuleInPyTorchIsTakenOff) {
  const Safetensors file = saved();
  const Safetensors bare = as_pytorch(file, Architecture::from_json(file.metadata.at("architecture")));
  for (const std::string wrapper : {"_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."}) {
    Safetensors wrapped;
    for (const auto& [name, entry] : bare.tensors) wrapped.tensors[wrapper + name] = entry;
    expect_same_tensors(file, through(wrapped));
  }
}

// Whatever a header says, a file is read or refused: any other exception, or a crash, ends the test.
TEST_F(ForeignModel, HeadersThatAreDamagedAreReadOrRefused) {
  const Safetensors file = saved();
  Safetensors theirs = as_pytorch(file, Architecture::from_json(file.metadata.at("architecture")));
  theirs.metadata.clear();
  write_safetensors(path("theirs.safetensors"), theirs);
  const std::string sound = read_file(path("theirs.safetensors"));
  std::uint64_t header = 0;
  std::memcpy(&header, sound.data(), sizeof header);
  std::mt19937 random(5);  // NOLINT(cert-msc51-cpp): the same damage in every run
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string damaged = sound;
    damaged[8 + random() % header] = "0123456789abcFIU.[],:\"{}"[random() % 24];
    folder_.write("damaged.safetensors", damaged);
    refused += message_of([&] { load_model(*backend_, path("damaged.safetensors")); }) != "no error" ? 1 : 0;
  }
  EXPECT_GT(refused, 100);
}

TEST_F(ForeignModel, BlocksAreNumberedInTheirOrderForPyTorch) {
  const Safetensors file = saved(Variant::standard, {0, 12, 5});
  const Safetensors theirs = as_pytorch(file, Architecture::from_json(file.metadata.at("architecture")));
  const std::string end = ".batch_norm1.bias";
  EXPECT_EQ(theirs.tensors.at("stages.0.blocks.1" + end).bytes, file.tensors.at("stages.0.blocks.12" + end).bytes);
  EXPECT_EQ(theirs.tensors.at("stages.0.blocks.2" + end).bytes, file.tensors.at("stages.0.blocks.5" + end).bytes);
  EXPECT_EQ(theirs.tensors.size(), file.tensors.size());
  EXPECT_EQ(Architecture::from_json(theirs.metadata.at("architecture")).stages[0].blocks,
            (std::vector<std::int64_t>{0, 1, 2}));
}

TEST_F(ForeignModel, WhatCannotBeReadIsNamed) {
  const std::string theirs = path("theirs.safetensors");
  EXPECT_TRUE(contains(error_after([](Safetensors& file) { file.tensors.erase("stem.conv.weight"); }),
                       "neither `architecture` nor `blocks`, and it has no tensor `stem.conv.weight` of 4 axes"));
  EXPECT_TRUE(contains(error_after([](Safetensors& file) { file.tensors["classifier.weight"].shape = {96}; }),
                       "no tensor `classifier.weight` of 2 axes"));
  EXPECT_TRUE(contains(error_after([](Safetensors& file) {
                         file.tensors["stages.3.blocks.0.conv1.weight"] =
                             file.tensors.at("stages.1.blocks.0.conv1.weight");
                       }),
                       "has blocks of stage 3 but none of stage 2"));
  EXPECT_TRUE(
      contains(error_after([](Safetensors& file) {
                 for (auto at = file.tensors.begin(); at != file.tensors.end();) {
                   at = at->first.starts_with("stages.") ? file.tensors.erase(at) : std::next(at);
                 }
               }),
               theirs + "` has no metadata, and its tensors make no network: [architecture] expected at least"));
  EXPECT_TRUE(contains(error_after([](Safetensors& file) {
                         file.tensors["stages.0.blocks.99999999.conv1.weight"] =
                             file.tensors.at("stages.0.blocks.1.conv1.weight");
                       }),
                       "holds the tensor `stages.0.blocks.99999999.conv1.weight`"));
  EXPECT_TRUE(contains(error_after([](Safetensors& file) { file.tensors.erase("stages.0.blocks.2.batch_norm2.bias"); }),
                       "lacks the tensor `stages.0.blocks.2.batch_norm2.bias`"));
  const double huge = 1e300;
  EXPECT_TRUE(contains(error_after([&](Safetensors& file) {
                         SafetensorsEntry& bias = file.tensors.at("classifier.bias");
                         bias.dtype = DType::float64;
                         bias.bytes.assign(24, 0);
                         std::memcpy(bias.bytes.data(), &huge, sizeof huge);
                       }),
                       "element 0 of `classifier.bias` is inf"));
  folder_.write("architecture.json", "{");
  EXPECT_TRUE(contains(error_after([](Safetensors&) {}), path("architecture.json")));

  Safetensors whole = saved();
  const std::string text = R"({"stem.conv.weight":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})";
  write_file_atomically(path("whole.safetensors"),
                        std::string(1, static_cast<char>(text.size())) + std::string(7, '\0') + text + "12345678");
  EXPECT_TRUE(contains(message_of([&] { load_model(*backend_, path("whole.safetensors")); }),
                       "expected `stem.conv.weight` to be F32, F64, F16 or BF16, as weights are, it is I64"));
}

}  // namespace
}  // namespace stagewise
