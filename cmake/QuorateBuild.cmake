# Flags, tools and packages that every room shares.

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

# CHECKs are ours and stay in every build; NDEBUG only removes the C library's assert from hot
# third-party headers, so it is not set at all: a wrong answer costs more than a branch.
set(CMAKE_CXX_FLAGS_DEV "-O1 -g1")
set(CMAKE_CXX_FLAGS_OPTIMIZED "-O2 -g1")
set(CMAKE_C_FLAGS_DEV "-O1 -g1")
set(CMAKE_C_FLAGS_OPTIMIZED "-O2 -g1")
add_compile_options(-fno-omit-frame-pointer)

if(QUORATE_SANITIZER STREQUAL "address")
  # The fuzzers are in this build: clang's libFuzzer wants its coverage in every object.
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "the address sanitizer's build has libFuzzer in it and needs clang:
    cmake --preset asan, in a build folder that no other compiler was configured for")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(QUORATE_SANITIZER STREQUAL "thread")
  add_compile_options(-fsanitize=thread -Wno-tsan)
  add_link_options(-fsanitize=thread)
elseif(NOT QUORATE_SANITIZER STREQUAL "")
  message(FATAL_ERROR "QUORATE_SANITIZER is '${QUORATE_SANITIZER}'; known: address, thread")
endif()

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Catch2 2 REQUIRED)
find_package(benchmark REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(ROCKSDB REQUIRED IMPORTED_TARGET rocksdb)
pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)

# Warnings are errors in our own code; generated code and packages are exempt (see QuorateRoom).
add_library(quorate_warnings INTERFACE)
target_compile_options(quorate_warnings INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor
  -Woverloaded-virtual -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")  # another compiler has another set of warnings
  target_compile_options(quorate_warnings INTERFACE -Werror)
endif()
