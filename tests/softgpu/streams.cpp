#include "streams.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <set>

#include "races.h"
#include "traffic.h"

namespace softgpu {
namespace {

struct Scheduler {
  Stream legacy;
  std::set<Stream*> streams;  // all but the legacy one
  std::uint32_t next_index = 1;
  std::vector<WorkPtr> pending;
  std::size_t pending_limit = 64;
  Clock host;  // what the host has waited for
  std::vector<std::shared_ptr<Capture>> captures;
  std::mt19937_64 random;

  WorkPtr current;
  std::uint32_t current_id = 0;
  std::array<WorkPtr, work_ids> executed;        // by identity; only name and clock are kept alive
  std::array<std::uint8_t, work_ids> ordered{};  // for the running work: 0 unknown, 1 yes, 2 no
};

Scheduler& scheduler() {
  static Scheduler* const instance = [] {
    auto* made = new Scheduler;
    made->random.seed(settings().seed);
    return made;
  }();
  return *instance;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void depend(Work& work, const WorkPtr& on) {
  if (!on) return;
  merge(work.clock, on->clock);
  if (!on->done) work.dependencies.push_back(on);
}

void execute(const WorkPtr& work) {
  Scheduler& s = scheduler();
  if (sticky_error() == cudaSuccess && work->run) {
    s.current = work;
    if (++s.current_id == work_ids) {
      s.current_id = 1;
      forget_all_accesses();
    }
    s.executed[s.current_id] = work;
    s.ordered.fill(0);
    set_running(work->name);
    if (settings().trace) std::fprintf(stderr, "softgpu: stream %u runs %s\n", work->stream, work->name.c_str());
    try {
      work->run();
      if (counts_traffic()) count_traffic(work->name);
    } catch (const DeviceError& error) {
      report(error);
    }
    set_running("");
    s.current.reset();
  }
  work->run = nullptr;
  work->dependencies.clear();
  work->finished = now();
  work->done = true;
}

/// The next thing to run so that `work` gets done: something undone that waits for nothing.
WorkPtr ready_before(const WorkPtr& work, std::vector<WorkPtr>& path) {
  Scheduler& s = scheduler();
  if (path.empty()) path.push_back(work);
  for (;;) {
    auto& dependencies = path.back()->dependencies;
    std::erase_if(dependencies, [](const WorkPtr& each) { return each->done; });
    if (dependencies.empty()) break;
    std::size_t pick = 0;
    if (settings().order == Order::reverse) pick = dependencies.size() - 1;
    if (settings().order == Order::random) pick = s.random() % dependencies.size();
    path.push_back(dependencies[pick]);
  }
  WorkPtr result = path.back();
  path.pop_back();
  return result;
}

void run_up_to(const WorkPtr& work) {
  std::vector<WorkPtr> path;
  while (!work->done) execute(ready_before(work, path));
}

void remember_pending(const WorkPtr& work) {
  Scheduler& s = scheduler();
  s.pending.push_back(work);
  if (s.pending.size() < s.pending_limit) return;
  std::erase_if(s.pending, [](const WorkPtr& each) { return each->done; });
  s.pending_limit = 64 + 2 * s.pending.size();
}

WorkPtr queue(Stream* stream, const std::string& name, std::function<void()> run) {
  Scheduler& s = scheduler();
  auto work = std::make_shared<Work>();
  work->name = name;
  work->run = std::move(run);
  work->clock = s.host;
  depend(*work, stream->tail);
  for (const WorkPtr& each : stream->waits) depend(*work, each);
  stream->waits.clear();
  if (stream == &s.legacy) {
    for (Stream* each : s.streams) {
      if (each->blocking) depend(*work, last_work(each));
    }
  } else if (stream->blocking) {
    depend(*work, s.legacy.tail);
  }
  work->stream = stream->index;
  work->sequence = ++stream->issued;
  if (work->clock.size() <= stream->index) work->clock.resize(stream->index + 1);
  work->clock[stream->index] = work->sequence;
  stream->tail = work;
  remember_pending(work);
  if (!settings().lazy_streams) run_up_to(work);
  return work;
}

}  // namespace

void merge(Clock& into, const Clock& from) {
  if (into.size() < from.size()) into.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}

Stream* find_stream(cudaStream_t handle) {
  Scheduler& s = scheduler();
  if (handle == nullptr || handle == cudaStreamLegacy) return &s.legacy;
  if (handle == cudaStreamPerThread) {
    thread_local Stream* const own = create_stream(cudaStreamDefault, 0);
    return own;
  }
  auto* const stream = reinterpret_cast<Stream*>(handle);
  return s.streams.count(stream) ? stream : nullptr;
}

Stream* create_stream(unsigned flags, int priority) {
  Scheduler& s = scheduler();
  auto* stream = new Stream;
  stream->index = s.next_index++;
  stream->blocking = !(flags & cudaStreamNonBlocking);
  stream->flags = flags;
  stream->priority = priority;
  s.streams.insert(stream);
  return stream;
}

void destroy_stream(Stream* stream) {
  Scheduler& s = scheduler();
  if (stream->blocking && stream->tail) s.legacy.waits.push_back(stream->tail);
  s.streams.erase(stream);
  delete stream;
}

WorkPtr enqueue(Stream* stream, const std::string& kind, const std::string& name, std::function<void()> run) {
  if (!stream->capture) return queue(stream, name, std::move(run));
  Graph& graph = stream->capture->graph;
  graph.nodes.push_back({kind, name, std::move(run), stream->capture_tail});
  stream->capture_tail = {static_cast<int>(graph.nodes.size()) - 1};
  return nullptr;
}

void wait_for(Stream* stream, const WorkPtr& work) {
  if (work) stream->waits.push_back(work);
}

WorkPtr last_work(Stream* stream) {
  if (stream->waits.empty()) return stream->tail;
  return queue(stream, "wait", nullptr);
}

void synchronise(const WorkPtr& work) {
  if (!work) return;
  run_up_to(work);
  merge(scheduler().host, work->clock);
}

void synchronise(Stream* stream) { synchronise(last_work(stream)); }

void synchronise_device() {
  Scheduler& s = scheduler();
  std::vector<WorkPtr> pending = std::move(s.pending);
  s.pending.clear();
  if (settings().order == Order::reverse) std::reverse(pending.begin(), pending.end());
  if (settings().order == Order::random) std::shuffle(pending.begin(), pending.end(), s.random);
  for (const WorkPtr& work : pending) synchronise(work);
}

bool poll(const WorkPtr& work) {
  if (!work) return true;
  if (!work->done) {
    std::vector<WorkPtr> path;
    execute(ready_before(work, path));
    return false;
  }
  merge(scheduler().host, work->clock);
  return true;
}

void launch_graph(const Graph& graph, std::vector<Stream*>& lanes, Stream* stream) {
  // A node takes over the lane of the first thing it follows; where another has, it opens one.
  const WorkPtr before = last_work(stream);
  std::vector<std::size_t> lane_of(graph.nodes.size());
  std::vector<bool> continued(graph.nodes.size());
  std::vector<WorkPtr> works(graph.nodes.size());
  std::size_t used = 0;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const GraphNode& node = graph.nodes[i];
    const int first = node.dependencies.empty() ? -1 : node.dependencies.front();
    lane_of[i] =
        first >= 0 && !continued[static_cast<std::size_t>(first)] ? lane_of[static_cast<std::size_t>(first)] : used++;
    if (first >= 0) continued[static_cast<std::size_t>(first)] = true;
    if (lanes.size() < used) lanes.push_back(create_stream(cudaStreamNonBlocking, 0));
    Stream* const lane = lanes[lane_of[i]];
    wait_for(lane, before);
    for (const int each : node.dependencies) wait_for(lane, works[static_cast<std::size_t>(each)]);
    works[i] = queue(lane, node.name, node.run);
  }
  for (const WorkPtr& each : works) wait_for(stream, each);
  queue(stream, "end of graph", nullptr);
}

std::vector<std::shared_ptr<Capture>>& captures() { return scheduler().captures; }

void leave_capture(const std::shared_ptr<Capture>& capture) {
  for (Stream* each : scheduler().streams) {
    if (each->capture != capture) continue;
    each->capture.reset();
    each->capture_tail.clear();
  }
  std::erase(captures(), capture);
}

cudaError_t refused_by_capture(Stream* stream) {
  if (stream->capture) {
    stream->capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  if (stream != &scheduler().legacy) return cudaSuccess;
  for (const auto& capture : captures()) {
    if (!capture->origin->blocking) continue;
    capture->invalid = true;
    return cudaErrorStreamCaptureImplicit;
  }
  return cudaSuccess;
}

cudaError_t refused_inside_capture(Stream* stream, const char* what) {
  if (!stream->capture) return cudaSuccess;
  stream->capture->invalid = true;
  return refuse(cudaErrorStreamCaptureUnsupported, what);
}

cudaError_t refused_by_any_capture() {
  for (const auto& capture : captures()) {
    if (capture->mode == cudaStreamCaptureModeRelaxed) continue;
    capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  return cudaSuccess;
}

std::uint32_t current_work_id() { return scheduler().current ? scheduler().current_id : 0; }

bool ordered_before_current(std::uint32_t id) {
  Scheduler& s = scheduler();
  if (id == 0) return true;
  if (s.ordered[id] == 0) {
    const Work& before = *s.executed[id];
    const Clock& clock = s.current->clock;
    const bool yes = before.stream < clock.size() && clock[before.stream] >= before.sequence && id != s.current_id;
    s.ordered[id] = yes ? 1 : 2;
  }
  return s.ordered[id] == 1;
}

const std::uint8_t* ordered_work() { return scheduler().ordered.data(); }

std::string work_name(std::uint32_t id) {
  const WorkPtr& work = scheduler().executed[id];
  return work ? text("%s (stream %u)", work->name.c_str(), work->stream) : "earlier work";
}

}  // namespace softgpu
