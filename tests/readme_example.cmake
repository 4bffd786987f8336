# Writes the C++ program in README.md to OUTPUT. Usage: cmake -DREADME=... -DOUTPUT=... -P readme_example.cmake
file(READ ${README} readme)
if(NOT readme MATCHES "```cpp\n([^`]*)```")
  message(FATAL_ERROR "${README} has no C++ program")
endif()
file(WRITE ${OUTPUT} "${CMAKE_MATCH_1}")
