# Makes ${QUORATE_PRIVATE_JEMALLOC}: Debian's static jemalloc as one object file in which every name
# is local, except the three functions we call, under the prefix quorate_je_. Its requests to the
# kernel, and for handlers at fork, go to functions of jemalloc_allocator.cc. Leaves the variable empty when the static library
# is not installed (package libjemalloc-dev).
find_file(QUORATE_JEMALLOC_ARCHIVE libjemalloc_pic.a
          HINTS ${JEMALLOC_LIBDIR} ${JEMALLOC_LIBRARY_DIRS} PATH_SUFFIXES ${CMAKE_LIBRARY_ARCHITECTURE}
          PATHS /usr/lib /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE})
set(QUORATE_PRIVATE_JEMALLOC "")
if(QUORATE_JEMALLOC_ARCHIVE)
  set(QUORATE_PRIVATE_JEMALLOC ${CMAKE_CURRENT_BINARY_DIR}/private_jemalloc.o)
  set(whole ${CMAKE_CURRENT_BINARY_DIR}/jemalloc_whole.o)
  set(exported mallocx sdallocx mallctl)
  set(redirected mmap munmap madvise pthread_atfork)
  set(rename "")
  foreach(name IN LISTS exported redirected)
    list(APPEND rename --redefine-sym ${name}=quorate_je_${name})
  endforeach()
  set(keep "")
  foreach(name IN LISTS exported)
    list(APPEND keep --keep-global-symbol=quorate_je_${name})
  endforeach()
  add_custom_command(
    OUTPUT ${QUORATE_PRIVATE_JEMALLOC}
    COMMAND ${CMAKE_LINKER} -r -o ${whole} --whole-archive ${QUORATE_JEMALLOC_ARCHIVE}
    COMMAND ${CMAKE_OBJCOPY} ${rename} ${whole}
    COMMAND ${CMAKE_OBJCOPY} ${keep} ${whole} ${QUORATE_PRIVATE_JEMALLOC}
    DEPENDS ${QUORATE_JEMALLOC_ARCHIVE} ${CMAKE_CURRENT_LIST_FILE}
    COMMENT "Making the private copy of jemalloc" VERBATIM)
  set_source_files_properties(${QUORATE_PRIVATE_JEMALLOC} PROPERTIES EXTERNAL_OBJECT TRUE
                              GENERATED TRUE)
else()
  message(WARNING "libjemalloc_pic.a was not found (Debian package libjemalloc-dev): "
                  "--allocator=jemalloc will not be available")
endif()
