// A driver that is not there: the libcuda.so.1 of tests/cudnn_plans_test.cpp, and of nothing else.
//
// cuDNN compiles some engines' kernels while it finalises a plan, and hands them to the driver to load. With no driver
// it proposes no such engine. This one says it is there and takes every kernel without looking, so that the plans
// finalise: cuDNN has then really chosen, generated and compiled (with NVRTC) what it would run on the described
// device. Whatever would need a device answers CUDA_ERROR_STUB_LIBRARY, as the toolkit's own stub does.
//
// cuDNN refuses to compile unless it finds every name below; one that is missing it names on stderr.
#include <cuda.h>

namespace {
constexpr int kToken = 0;  // what all handles point to
}

// The functions keep the driver's names but not its declarations, which are many and of no use here: all arguments of
// those that always fail are ignored.
#define STAGEWISE_NEEDS_A_DEVICE(name)                  \
  extern "C" CUresult name##_stand_in() __asm__(#name); \
  CUresult name##_stand_in() { return CUDA_ERROR_STUB_LIBRARY; }

STAGEWISE_NEEDS_A_DEVICE(cuCtxGetCurrent)
STAGEWISE_NEEDS_A_DEVICE(cuCtxGetLimit)
STAGEWISE_NEEDS_A_DEVICE(cuCtxPopCurrent)
STAGEWISE_NEEDS_A_DEVICE(cuCtxPushCurrent)
STAGEWISE_NEEDS_A_DEVICE(cuDeviceGet)
STAGEWISE_NEEDS_A_DEVICE(cuDeviceGetCount)
STAGEWISE_NEEDS_A_DEVICE(cuGetErrorName)
STAGEWISE_NEEDS_A_DEVICE(cuGetErrorString)
STAGEWISE_NEEDS_A_DEVICE(cuLaunchCooperativeKernel)
STAGEWISE_NEEDS_A_DEVICE(cuLaunchKernel)
STAGEWISE_NEEDS_A_DEVICE(cuLaunchKernelEx)
STAGEWISE_NEEDS_A_DEVICE(cuLibraryLoadFromFile)
STAGEWISE_NEEDS_A_DEVICE(cuLinkAddData)
STAGEWISE_NEEDS_A_DEVICE(cuLinkComplete)
STAGEWISE_NEEDS_A_DEVICE(cuLinkCreate)
STAGEWISE_NEEDS_A_DEVICE(cuLinkDestroy)
STAGEWISE_NEEDS_A_DEVICE(cuOccupancyMaxPotentialClusterSize)
STAGEWISE_NEEDS_A_DEVICE(cuStreamGetCtx)

extern "C" {

CUresult cuDriverGetVersion(int* version) {
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

CUresult cuLibraryLoadData(CUlibrary* library, const void*, CUjit_option*, void**, unsigned, CUlibraryOption*, void**,
                           unsigned) {
  *library = reinterpret_cast<CUlibrary>(const_cast<int*>(&kToken));
  return CUDA_SUCCESS;
}

CUresult cuLibraryGetKernel(CUkernel* kernel, CUlibrary, const char*) {
  *kernel = reinterpret_cast<CUkernel>(const_cast<int*>(&kToken));
  return CUDA_SUCCESS;
}

CUresult cuLibraryUnload(CUlibrary) { return CUDA_SUCCESS; }

CUresult cuKernelGetAttribute(int* value, CUfunction_attribute, CUkernel, CUdevice) {
  *value = 0;
  return CUDA_SUCCESS;
}

CUresult cuKernelSetAttribute(CUfunction_attribute, int, CUkernel, CUdevice) { return CUDA_SUCCESS; }

}  // extern "C"
