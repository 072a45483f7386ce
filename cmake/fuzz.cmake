# One libFuzzer program a fuzz/fuzz_*.c (clang only). The whole library is instrumented: use a folder of its own:
#   cmake -B build-fuzz -DHONE_FUZZ=ON -DCMAKE_C_COMPILER=clang && build-fuzz/fuzz_gguf -max_total_time=60
if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "HONE_FUZZ needs clang: -DCMAKE_C_COMPILER=clang")
endif()
set(HONE_FUZZ_FLAGS -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer -g)
target_compile_options(hone_flags INTERFACE ${HONE_FUZZ_FLAGS})
target_link_options(hone_flags INTERFACE -fsanitize=address,undefined)
file(GLOB HONE_FUZZ_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/fuzz/fuzz_*.c)
foreach(source ${HONE_FUZZ_SOURCES})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(${name} PRIVATE HONE_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
  target_link_libraries(${name} PRIVATE hone_static)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
endforeach()
