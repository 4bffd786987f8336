// Threads: how many a process may use, loops that they share, and what happens when the system gives too few.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <numeric>
#include <thread>

#include "cpu/cores.h"
#include "cpu/memory.h"
#include "cpu/parallel.h"
#include "tests/sanitized.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

using cpu::ThreadPool;
using cpu::usable_cores;

TEST(Threads, CallersTakeTurnsInSweepsAsInRuns) {
  ThreadPool pool(3);
  constexpr std::int64_t kItems = 64, kLoops = 200;
  std::atomic<std::int64_t> strays{0};
  const auto call = [&](bool sweeping) {
    std::vector<int> calls(kItems);
    for (std::int64_t loop = 0; loop < kLoops; ++loop) {
      const auto body = [&](std::int64_t item) {
        calls[static_cast<std::size_t>(item)] += 1;
        const std::int64_t next = sweeping ? pool.after(item) : item;
        if (next < 0 || next >= kItems || std::abs(next - item) > 1) strays += 1;
      };
      if (sweeping) {
        pool.sweep(kItems, body);
      } else {
        pool.run(kItems, body);
      }
    }
    if (calls != std::vector<int>(kItems, kLoops)) strays += 1;
  };
  std::thread first(call, true), second(call, true), third(call, false);
  first.join();
  second.join();
  third.join();
  EXPECT_EQ(strays, 0);
}

TEST(Threads, EverySecondSweepGoesBackwards) {
  ThreadPool pool(1);
  std::vector<std::int64_t> order;
  const auto body = [&](std::int64_t item) { order.push_back(item); };
  for (int loop = 0; loop < 2; ++loop) pool.sweep(3, body);
  pool.run(3, body);
  pool.sweep(3, body);
  EXPECT_EQ(order, (std::vector<std::int64_t>{2, 1, 0, 0, 1, 2, 0, 1, 2, 2, 1, 0}));
}

TEST(Threads, AnErrorInABodyComesOutOfTheLoopAndThePoolGoesOn) {
  ThreadPool pool(3);
  EXPECT_THROW(pool.run(10, [](std::int64_t item) { require(item != 7, "seven"); }), Error);
  std::atomic<int> calls{0};
  pool.run(10, [&](std::int64_t) { calls += 1; });
  EXPECT_EQ(calls, 10);
}

/// In a process of its own, because limits can't be lifted again: 0 when a pool of 512 threads came out smaller and
/// computed what it should.
int exit_code_with_memory_for_few_threads() {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{rlim_t{1} << 30, rlim_t{1} << 30};  // of stacks of 8 MB, a hundred or so
    setrlimit(RLIMIT_AS, &limit);
    ThreadPool pool(512);
    std::vector<std::int64_t> squares(1000);
    pool.run(1000, [&](std::int64_t item) { squares[static_cast<std::size_t>(item)] = item * item; });
    const bool right = std::accumulate(squares.begin(), squares.end(), std::int64_t{0}) == 332833500;
    const std::vector<char> work(100 << 20);  // memory is left for the work itself
    _exit(!right ? 2 : pool.threads() < 512 && pool.threads() > 1 && work.back() == 0 ? 0 : 3);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(Threads, WhereTheSystemGivesFewerThereAreFewer) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need more memory than any limit";
  EXPECT_EQ(exit_code_with_memory_for_few_threads(), 0);
}

class Cores : public testing::Test {
 protected:
  /// The cores in a group `membership` with what was written below groups/.
  int cores(const std::string& membership) const {
    return usable_cores(folder_.write("membership", membership), folder_.path("groups"));
  }
  const int all_ = usable_cores("/nowhere", "/nowhere");
  TemporaryFolder folder_;
};

TEST_F(Cores, AQuotaOfTheControlGroupCounts) {
  folder_.write("groups/job/cpu.max", "50000 100000\n");
  EXPECT_EQ(cores("0::/job\n"), 1);
  folder_.write("groups/job/cpu.max", "100100 100000\n");
  EXPECT_EQ(cores("0::/job\n"), std::min(2, all_));
  folder_.write("groups/job/cpu.max", "max 100000\n");
  EXPECT_EQ(cores("0::/job\n"), all_);
  folder_.write("groups/cpu.max", "100000 100000\n");  // of a group round it
  EXPECT_EQ(cores("0::/job\n"), 1);
  EXPECT_EQ(cores("0::/\n"), 1);
}

TEST_F(Cores, SoDoesVersion1s) {
  folder_.write("groups/cpu/job/cpu.cfs_quota_us", "80000\n");
  folder_.write("groups/cpu/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores("5:memory:/x\n4:cpu,cpuacct:/job\n1:name=systemd:/y\n"), 1);
  EXPECT_EQ(cores("4:cpuset:/job\n"), all_);
  folder_.write("groups/cpu/job/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(cores("4:cpu,cpuacct:/job\n"), all_);
}

TEST_F(Cores, WhatIsMissingOrNonsenseLimitsNothing) {
  EXPECT_EQ(cores("0::/gone/away\n"), all_);
  EXPECT_EQ(cores("nonsense\n\n:\n"), all_);
  for (const char* nonsense : {"", "100000", "-5 100000", "many 7", "0 0", "1000 max"}) {
    folder_.write("groups/job/cpu.max", nonsense);
    EXPECT_EQ(cores("0::/job\n"), all_) << nonsense;
  }
}

TEST(Memory, ALimitOfTheControlGroupCounts) {
  const TemporaryFolder folder;
  const auto memory = [&](const std::string& membership) {
    return cpu::usable_memory(folder.write("membership", membership), folder.path("groups"));
  };
  const std::int64_t all = cpu::usable_memory("/nowhere", "/nowhere");
  EXPECT_GT(all, 64 << 20);
  folder.write("groups/job/step/memory.max", "max\n");
  EXPECT_EQ(memory("0::/job/step\n"), all);
  folder.write("groups/job/memory.max", "1048576\n");  // of the group round it
  EXPECT_EQ(memory("0::/job/step\n"), 1 << 20);
  folder.write("groups/memory/box/memory.limit_in_bytes", "4194304\n");  // version 1
  EXPECT_EQ(memory("3:cpu:/x\n2:memory:/box\n"), 4 << 20);
  folder.write("groups/memory/box/memory.limit_in_bytes", "9223372036854771712\n");  // which says none there
  EXPECT_EQ(memory("2:memory:/box\n"), all);
}

}  // namespace
}  // namespace stagewise
