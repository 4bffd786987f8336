// One image through the header that `export --to c` writes, built by the compilers that are here, beside our own
// network that only answers. In turn, so that whatever else the machine does befalls all of them.
// Usage: exported_c [RUN]; without one, a 3,3,3 that has learnt nothing.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "cpu/cpu_backend.h"
#include "layers/inference.h"
#include "search/export/c.h"
#include "search/training/model_file.h"
#include "tensor/atomic_file.h"

namespace stagewise {
namespace {

constexpr int kRounds = 300;

struct Contestant {
  std::string name;
  std::function<void()> answer;
  std::vector<double> milliseconds = {};
};

using Predict = int (*)(const unsigned char*, float*, float*);

/// net_predict of the header in `folder`; null where there is no such compiler.
Predict built_by(const std::string& compiler, const std::string& folder) {
  static int built = 0;
  const std::string library = concat(folder, "/net", built++, ".so");
  const std::string line = concat(compiler, " -std=c99 -DNET_IMPLEMENTATION -x c -shared -fPIC '", folder,
                                  "/net.h' -o '", library, "' 2>/dev/null");
  if (std::system(line.c_str()) != 0) return nullptr;
  void* const handle = dlopen(library.c_str(), RTLD_NOW);
  require(handle != nullptr, "can't load ", library);
  return reinterpret_cast<Predict>(dlsym(handle, "net_predict"));
}

void compare(const Network& network, const Normalisation& normalisation) {
  std::string folder = (std::filesystem::temp_directory_path() / "exported-c-XXXXXX").string();
  require(mkdtemp(folder.data()) != nullptr, "can't make a folder like ", folder);
  const CHeader header = c_header(network, normalisation, {.name = "net", .file = "net.h", .classes = {}, .about = {}});
  write_file_atomically(folder + "/net.h", header.text);
  const Shape image = network.active_graph().input;
  const std::vector<unsigned char> pixels(static_cast<std::size_t>(image.count()), 100);
  std::vector<float> logits(static_cast<std::size_t>(network.architecture().classes));
  std::vector<float> scratch(static_cast<std::size_t>(header.scratch) / sizeof(float));

  std::vector<Contestant> contestants;
  for (const int threads : {1, 0}) {
    const std::shared_ptr<Backend> backend = make_cpu_backend({.threads = threads});
    auto own = std::make_shared<Network>(*backend, network.architecture(), 1);
    auto ours = std::make_shared<InferenceNetwork>(*own);
    contestants.push_back({threads == 1 ? "ours, one thread" : "ours, all threads", [backend, own, ours, image] {
                             ours->logits(Tensor::full(*backend, image, 1.0, DType::float32)).to_doubles();
                           }});
  }
  for (const char* compiler : {"gcc -O2", "gcc -O3", "gcc -O3 -march=native", "clang -O2", "clang -O2 -march=native"}) {
    if (const Predict predict = built_by(compiler, folder)) {
      contestants.push_back({compiler, [&, predict] { predict(pixels.data(), logits.data(), scratch.data()); }});
    }
  }
  std::filesystem::remove_all(folder);
  for (int round = 0; round < kRounds; ++round) {
    for (Contestant& contestant : contestants) {
      const auto begin = std::chrono::steady_clock::now();
      contestant.answer();
      const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
      contestant.milliseconds.push_back(taken.count());
    }
  }
  std::printf("%-26s %8s %8s   ms an image\n", "", "least", "median");
  for (Contestant& contestant : contestants) {
    std::sort(contestant.milliseconds.begin(), contestant.milliseconds.end());
    std::printf("%-26s %8.2f %8.2f\n", contestant.name.c_str(), contestant.milliseconds.front(),
                contestant.milliseconds[kRounds / 2]);
  }
}

}  // namespace
}  // namespace stagewise

int main(int argc, char** argv) {
  using namespace stagewise;
  try {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    Model model;
    if (argc > 1) model = load_model(*backend, argv[1]);
    if (argc <= 1) {
      model.network = std::make_unique<Network>(*backend, Architecture::of_depths({3, 3, 3}), 1);
      model.normalisation = Normalisation{{1, 1, 1}, std::vector<float>(std::size_t{32 * 32 * 3})};
    }
    require(model.normalisation.has_value(), argv[1], " doesn't say how its images are normalised");
    compare(*model.network, *model.normalisation);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
