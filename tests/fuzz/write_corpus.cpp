// write_corpus FOLDER: sound files of every format, at FOLDER/FORMAT/NUMBER, for libFuzzer to start from.
#include <cstdint>
#include <map>

#include "cuda/plan_file.h"
#include "search/checkpoint.h"
#include "search/training/model_file.h"
#include "tensor/atomic_file.h"
#include "tests/fuzz/picture_corpus.h"
#include "tests/tiny_backend.h"

namespace stagewise::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRun = STAGEWISE_SOURCE_DIR "/tests/data/stopped_run/";

/// The folders that the fuzzers of the same names start from.
class Corpus {
 public:
  explicit Corpus(const fs::path& folder) : folder_(folder) {}
  /// The path of the next file of `format`.
  std::string next(const std::string& format) {
    fs::create_directories(folder_ / format);
    return folder_ / format / std::to_string(numbers_[format]++);
  }
  void add(const std::string& format, const std::string& contents) {
    std::ofstream(next(format), std::ios::binary) << contents;
  }

 private:
  fs::path folder_;
  std::map<std::string, int> numbers_;
};

void add_pictures(Corpus& corpus) {
  for (const std::string& file : picture_corpus(STAGEWISE_SOURCE_DIR "/tests/data/pictures")) {
    const char first = file[0];
    corpus.add(first == '\xFF' ? "jpeg" : first == '\x89' ? "png" : first == 'B' ? "bmp" : "pnm", file);
  }
}

/// Of few parameters, so that what libFuzzer changes is mostly the header.
Architecture tiny(Variant variant) {
  Architecture architecture = Architecture::of_depths({1}, variant);
  architecture.height = architecture.width = 2;
  architecture.channels = 1;
  architecture.classes = 2;
  architecture.stages[0] = {.width = 1, .blocks = {3}, .given_away = 5};
  return architecture;
}

void add_plans(Corpus& corpus) {
  PlanFile file{.device = {.device = "a card", .driver = "13.0", .cudnn = "9.19.0"}, .plans = {}};
  corpus.add("plans", file.to_json());
  file.plans["whole"] = {.engine = kCudnnEngine, .description = "engine 1", .microseconds = 2.5, .plan = "{}"};
  file.plans["apart"] = {.engine = kInParts, .description = "in parts", .microseconds = 2.0, .slower = {{"it", 3.0}}};
  corpus.add("plans", file.to_json());
}

void add_networks(Corpus& corpus) {
  TinyBackend backend;
  SearchState state = read_checkpoint(std::string(kRun) + "checkpoint.safetensors").state;
  corpus.add("state", state.to_json());
  corpus.add("architecture", Architecture::of_depths({1, 2, 1}).to_json());
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    const Architecture architecture = tiny(variant);
    corpus.add("architecture", architecture.to_json());
    Learner learner;
    learner.network = std::make_unique<Network>(backend, architecture, 7);
    learner.optimiser->set_state("velocity.classifier.bias", Tensor::zeros(backend, {2}));
    const bool whole = variant == Variant::standard;  // all that a checkpoint can hold
    if (whole) learner.average.emplace(0.5);
    if (whole) learner.average->set_average("classifier.bias", Tensor::zeros(backend, {2}));
    state.best_validation = whole ? 0.5 : -1.0;
    save_checkpoint(corpus.next("checkpoint"), state, learner, whole ? learner.network.get() : nullptr);

    Safetensors model = model_tensors(*learner.network, {.scale = {1}, .offset = {1, 2, 3, 4}}, {"cat", "dog"}, "DATA");
    write_safetensors(corpus.next("model"), model);
    if (whole) write_safetensors(corpus.next("model"), as_pytorch(model, architecture));
    model.metadata.clear();
    if (whole) write_safetensors(corpus.next("model"), model);
  }
  const std::map<std::string, SafetensorsEntry> every_type = {
      {"bytes", {.dtype = DType::uint8, .shape = {3}, .bytes = {1, 2, 3}}},
      {"whole", {.dtype = DType::int32, .shape = {1, 1}, .bytes = {1, 2, 3, 4}}},
      {"double", {.dtype = DType::float64, .shape = {}, .bytes = std::vector<unsigned char>(8)}},
      {"none", {.dtype = DType::float32, .shape = {2, 0}, .bytes = {}}}};
  write_safetensors(corpus.next("safetensors"), {.tensors = every_type, .metadata = {{"a", "b"}}, .unread = {}});
  const std::string header =
      R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]},)"
      R"("c":{"dtype":"I64","shape":[],"data_offsets":[6,14]}})";
  corpus.add("safetensors", picture_files::little(static_cast<std::uint32_t>(header.size()), 4) + std::string(4, '\0') +
                                header + std::string(14, '<'));
}

void add_texts(Corpus& corpus) {
  corpus.add("config", read_file(std::string(kRun) + "config.toml"));
  corpus.add("config",
             "epochs = 1_000\nseed = 0x7f\n'learning-rate' = 5e-1 # a\ndata = '''\nC:\\'''\nany-device = true\n");
  corpus.add("config", "[a]\nb = [1, {c = 1979-05-27T07:32:00Z}]\n\"data\" = \"\\u00e9\\n\"\noptimiser = \"adamw\"\n");
  const std::string journal = read_file(std::string(kRun) + "journal.jsonl");
  corpus.add("journal", picture_files::little(static_cast<std::uint32_t>(journal.size()), 2) + journal);
  const std::string start =
      R"({"event":"start","strategy":"paper","blocks":[1,1],"data":"x, 96 training images, 2 classes, 32x32","training_images":96,"validation_images":9})"
      "\n";
  corpus.add(
      "journal",
      std::string("\5\0", 2) + start +
          R"({"event":"epoch","epoch":1,"round":0,"blocks":[1,1],"work":10,"rate":0.5,"loss":1,"accuracy":0.5,"validation_loss":1,"validation_accuracy":0.25,"seconds":1})"
          "\n"
          R"({"event":"score","round":0,"work":12,"blocks":[1,1],"criterion":"vip","scores":[1,2],"errors":[0.1,0.2]})"
          "\n"
          R"({"event":"decision","round":0,"criterion":"vip","margin":0,"stages":[{"before":1,"deeper":2,"rise":0.5,"grown":true,"reason":"a"},{"rise":0}],"blocks_before":[1,1],"blocks_after":[2,1]})"
          "\n"
          R"({"event":"individual","number":1,"blocks":[2,1],"validation_accuracy":0.5,"work":20})"
          "\n"
          R"({"event":"insertion","round":1,"work":20,"blocks":[2,2],"new":[[],[1]]})"
          "\n"
          R"({"event":"decision","round":1,"criterion":"vip","margin":0,"work":30,"stages":[{"new":0},{"new":1,"score":1,"lower":0,"upper":2,"stays":false,"reason":"b"}],"blocks_after":[2,1]})"
          "\n"
          R"({"event":"held-out images join the training","images":9})"
          "\n"
          R"({"event":"stop","reason":"c","work":40})"
          "\n"
          R"({"event":"finished","blocks":[2,1],"work":40,"test_right":1,"test_accuracy":0.5,"seconds":2})"
          "\n");
}

void add_cifar(Corpus& corpus) {
  corpus.add("cifar", std::string(1, '\0') + std::string(2 * 3073, '\3'));
  corpus.add("cifar", std::string(1, '\1') + std::string(3074, '\x21'));
  corpus.add("cifar", "\2airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\r\ntruck\n\n");
  std::string fine = "\3";
  for (int i = 0; i < 100; ++i) fine += concat("class", i, "\n");
  corpus.add("cifar", fine);
}

}  // namespace
}  // namespace stagewise::fuzz

int main(int count, char** arguments) {
  if (count != 2) return 2;
  stagewise::fuzz::Corpus corpus(arguments[1]);
  stagewise::fuzz::add_pictures(corpus);
  stagewise::fuzz::add_networks(corpus);
  stagewise::fuzz::add_plans(corpus);
  stagewise::fuzz::add_texts(corpus);
  stagewise::fuzz::add_cifar(corpus);
}
