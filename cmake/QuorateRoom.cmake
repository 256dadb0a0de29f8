# quorate_room(NAME SOURCES ... USES ... [TESTS ...] [BENCHES ...] [TEST_USES ...])
#
# A room is a static library `quorate_<NAME>` that names what it may use. Its tests become one
# Catch2 program `<NAME>_test`, its micro-benchmarks one Google Benchmark program `<NAME>_bench`.
# A *_test.cc or *_bench.cc file beside the sources that is not listed stops the configure step: a
# test that is present and never run is worse than none.
#
# The target `sanitized_programs` builds what the sanitizers run: all of those tests and the simulator.
add_custom_target(sanitized_programs)
function(quorate_room NAME)
  cmake_parse_arguments(R "" "" "SOURCES;USES;TESTS;BENCHES;TEST_USES" ${ARGN})
  if(R_SOURCES)
    add_library(quorate_${NAME} STATIC ${R_SOURCES})
    target_include_directories(quorate_${NAME} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(quorate_${NAME} PUBLIC ${R_USES} PRIVATE quorate_warnings)
  else()
    add_library(quorate_${NAME} INTERFACE)
    target_include_directories(quorate_${NAME} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(quorate_${NAME} INTERFACE ${R_USES})
  endif()
  file(GLOB_RECURSE present CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}
       *_test.cc *_bench.cc)
  foreach(file IN LISTS present)
    if(NOT file IN_LIST R_TESTS AND NOT file IN_LIST R_BENCHES)
      message(FATAL_ERROR "${CMAKE_CURRENT_SOURCE_DIR}/${file} is not registered: list it under "
                          "TESTS or BENCHES of quorate_room(${NAME} ...)")
    endif()
  endforeach()
  if(R_TESTS)
    add_executable(${NAME}_test ${R_TESTS})
    target_link_libraries(${NAME}_test PRIVATE quorate_${NAME} ${R_TEST_USES} quorate_catch_main
                          quorate_warnings)
    if(NOT QUORATE_SANITIZER STREQUAL "")  # instrumented REQUIREs take longer to optimise than to run
      target_compile_options(${NAME}_test PRIVATE -O0)
    endif()
    add_test(NAME ${NAME} COMMAND ${NAME}_test)
    set_tests_properties(${NAME} PROPERTIES LABELS unit TIMEOUT 600)
    add_dependencies(sanitized_programs ${NAME}_test)
  endif()
  if(R_BENCHES)
    add_executable(${NAME}_bench ${R_BENCHES})
    target_link_libraries(${NAME}_bench PRIVATE quorate_${NAME} ${R_TEST_USES} benchmark::benchmark
                          benchmark::benchmark_main quorate_warnings)
  endif()
endfunction()

# The main() of every Catch2 program, compiled once.
file(WRITE ${CMAKE_BINARY_DIR}/catch_main.cc
     "#define CATCH_CONFIG_MAIN\n#include <catch2/catch.hpp>\n")
add_library(quorate_catch_main STATIC ${CMAKE_BINARY_DIR}/catch_main.cc)
target_link_libraries(quorate_catch_main PUBLIC Catch2::Catch2)
