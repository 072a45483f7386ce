# One cmocka program a tests/test_*.c; they may look inside the library. Examples are built and run by
# tests/test_examples.c, and those that take long by tests/test_examples_long.c. scripts/test counts the tests within each program, and each check below as one.
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
file(GLOB HONE_TEST_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/test_*.c)
set(HONE_TEST_TIMEOUT 240)
# Threads that wait must not spin: on a busy machine a test of tiny products then takes a hundred times as long.
set(HONE_TEST_ENVIRONMENT OMP_WAIT_POLICY=passive)
if(HONE_SANITIZE)
  set(HONE_TEST_TIMEOUT 900)
  # Sizes beyond all memory are tested: malloc must say no to them, as it does without the sanitizer.
  list(APPEND HONE_TEST_ENVIRONMENT ASAN_OPTIONS=allocator_may_return_null=1)
endif()
foreach(source ${HONE_TEST_SOURCES})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${name} PRIVATE HONE_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data"
    HONE_SOURCE_DIR="${PROJECT_SOURCE_DIR}" HONE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  # Not -O3: tests need no speed, and at -O3 gcc 12 for 64-bit ARM dies of an internal error in one of them.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O2>)
  target_link_libraries(${name} PRIVATE hone_static PkgConfig::CMOCKA)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_BINARY_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${HONE_TEST_TIMEOUT} ENVIRONMENT "${HONE_TEST_ENVIRONMENT}")
endforeach()

# Whole programs, some on real data where scripts/get-data has fetched it.
math(EXPR examples_timeout "3 * ${HONE_TEST_TIMEOUT}")
set_tests_properties(test_examples test_examples_long PROPERTIES TIMEOUT ${examples_timeout})

file(GLOB HONE_EXAMPLES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/*.c)
foreach(source ${HONE_EXAMPLES})
  get_filename_component(name ${source} NAME_WE)
  add_executable(example_${name} ${source})
  target_link_libraries(example_${name} PRIVATE hone_static)
  add_dependencies(test_examples example_${name})
endforeach()
add_dependencies(test_examples_long example_pronounce example_scenes)

# Checks of the project itself; pointless where the programs are for another machine.
function(hone_add_check name)
  add_test(NAME check-${name} COMMAND ${PROJECT_SOURCE_DIR}/scripts/check-${name} ${ARGN})
  set_tests_properties(check-${name} PROPERTIES TIMEOUT 240)
endfunction()
if(NOT CMAKE_CROSSCOMPILING)
  hone_add_check(includes)
  hone_add_check(headers)
  hone_add_check(style)
  hone_add_check(coverage)
  hone_add_check(bench)
  hone_add_check(symbols $<TARGET_FILE:hone>)
  hone_add_check(install ${PROJECT_BINARY_DIR})
  find_program(DOXYGEN doxygen)
  if(DOXYGEN)
    hone_add_check(docs ${PROJECT_BINARY_DIR}/docs)
  endif()
endif()
