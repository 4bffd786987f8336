// Devices as cuDNN wants them described where there is none: the JSON text that
// CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION takes, all keys of which must be there. The figures are those of NVIDIA's
// data sheets and of the CUDA programming guide's table of compute capabilities, not read from a card.
#pragma once

#include <string>

#include "tensor/error.h"

namespace stagewise::described_devices {

struct Device {
  const char* name;
  int capability;  // 10 * major + minor
  int processors, blocks_a_processor, threads_a_processor;
  int shared_memory;  // of a block, when asked for
  long long memory, l2_cache;
  bool bfloat16 = true;

  std::string json() const {
    return concat(R"({"deviceName":")", name, R"(","deviceVer":)", capability * 10,
                  R"(,"driverVer":13000,"cudaDeviceId":0,"maxGridSize":[2147483647,65535,65535],)",
                  R"("maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"multiProcessorCount":)", processors,
                  R"(,"warpSize":32,"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":)", shared_memory,
                  R"(,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":)",
                  blocks_a_processor, R"(,"maxThreadsPerBlock":1024,"maxThreadsPerSM":)", threads_a_processor,
                  R"(,"pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,"totalGlobalMem":)", memory,
                  R"(,"smClockRateKHz":1700000,"memClockRateKHz":2600000,"l2CacheSize":)", l2_cache, "}");
  }
};

constexpr long long kGiB = 1LL << 30, kMiB = 1LL << 20;
constexpr int kKiB = 1 << 10;

constexpr Device kTuring{"Tesla T4", 75, 40, 16, 1024, 64 * kKiB, 16 * kGiB, 4 * kMiB, false};
constexpr Device kAmpere{"NVIDIA A100-SXM4-80GB", 80, 108, 32, 2048, 163 * kKiB, 80 * kGiB, 40 * kMiB};
constexpr Device kHopper{"NVIDIA H100 80GB HBM3", 90, 132, 32, 2048, 227 * kKiB, 80 * kGiB, 50 * kMiB};
constexpr Device kBlackwell{"NVIDIA B200", 100, 148, 32, 2048, 227 * kKiB, 180 * kGiB, 126 * kMiB};
constexpr Device kBlackwellRtx{"NVIDIA GeForce RTX 5090", 120, 170, 24, 1536, 99 * kKiB, 32 * kGiB, 96 * kMiB};

}  // namespace stagewise::described_devices
