# Whether the CUDA backend is built: sets STAGEWISE_HAVE_CUDA, and STAGEWISE_CUDNN to the library.
set(STAGEWISE_CUDA AUTO CACHE STRING
  "The CUDA backend: AUTO builds it where nvcc, cuDNN 9 and cuRAND are found (not under ThreadSanitizer), ON insists, OFF doesn't")
set_property(CACHE STAGEWISE_CUDA PROPERTY STRINGS AUTO ON OFF)
set(STAGEWISE_CUDA_CARDS 75 80 86 89 90 100 120)  # by compute capability: those that the kernels are held to
set(STAGEWISE_CUDA_ARCHITECTURES 75 80 90 100 120 CACHE STRING
  "The cards to compile for, by compute capability: code for 8.0 runs on 8.6 and 8.9 too; PTX of the first and the last on others")

set(STAGEWISE_HAVE_CUDA OFF)
if(STAGEWISE_CUDA STREQUAL "ON" OR (STAGEWISE_CUDA STREQUAL "AUTO" AND NOT STAGEWISE_SANITIZE STREQUAL "thread"))
  find_package(CUDAToolkit 12.8 QUIET)  # the first that knows compute capability 12.0
  find_path(STAGEWISE_CUDNN_INCLUDE cudnn_graph.h HINTS ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
  # pip's nvidia-cudnn has no plain libcudnn.so.
  find_library(STAGEWISE_CUDNN NAMES cudnn libcudnn.so.9 NAMES_PER_DIR HINTS ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib lib64)
  if(CUDAToolkit_NVCC_EXECUTABLE AND TARGET CUDA::cudart AND TARGET CUDA::curand
      AND STAGEWISE_CUDNN_INCLUDE AND STAGEWISE_CUDNN)
    set(STAGEWISE_HAVE_CUDA ON)
  elseif(STAGEWISE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "STAGEWISE_CUDA=ON needs the CUDA toolkit 12.8 or later with cuRAND, and cuDNN 9. Found: nvcc "
      "`${CUDAToolkit_NVCC_EXECUTABLE}`, cudnn_graph.h in `${STAGEWISE_CUDNN_INCLUDE}`, cuDNN `${STAGEWISE_CUDNN}`. "
      "Name the toolkit's folder with -DCUDAToolkit_ROOT, cuDNN's with -DCMAKE_PREFIX_PATH (pip's: "
      "site-packages/nvidia/cudnn).")
  endif()
elseif(NOT STAGEWISE_CUDA MATCHES "^(AUTO|OFF)$")
  message(FATAL_ERROR "STAGEWISE_CUDA: expected AUTO, ON or OFF, got ${STAGEWISE_CUDA}")
endif()

if(STAGEWISE_HAVE_CUDA)
  set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
  set(CMAKE_CUDA_ARCHITECTURES OFF)  # cuda/CMakeLists.txt spells them out
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 doesn't know that nvcc takes it
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  endif()
  message(STATUS "CUDA backend: CUDA ${CUDAToolkit_VERSION}, for ${STAGEWISE_CUDA_ARCHITECTURES}")
else()
  message(STATUS "CUDA backend: left out (STAGEWISE_CUDA=${STAGEWISE_CUDA})")
endif()

# Spills and local memory are slow, and a double that nobody meant is up to 64 times slower than a float: all are errors.
set(STAGEWISE_PTXAS_CHECKS -Xptxas=-Werror,-warn-spills,-warn-lmem-usage)
set(STAGEWISE_PTXAS_NO_DOUBLE -Xptxas=-warn-double-usage)
