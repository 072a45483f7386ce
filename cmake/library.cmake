# libhone: every .c below src/, the kernels of src/kernel/ref/ once for each instruction set.
file(GLOB_RECURSE HONE_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.c)
list(FILTER HONE_SOURCES EXCLUDE REGEX "/src/kernel/(ref|onednn|x86)/")
file(GLOB HONE_KERNELS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/kernel/ref/*.c)

add_library(hone_objects OBJECT ${HONE_SOURCES})
set(HONE_OBJECTS $<TARGET_OBJECTS:hone_objects>)
set(HONE_OBJECT_TARGETS hone_objects)

# hone_kernels_<isa>_<real>: the same sources, other flags; HONE_ISA_NAME and HONE_REAL_NAME become part of every symbol.
function(hone_add_kernels isa)
  foreach(real f32 f64)
    set(target hone_kernels_${isa}_${real})
    add_library(${target} OBJECT ${HONE_KERNELS})
    target_compile_definitions(${target} PRIVATE HONE_ISA_NAME=${isa} HONE_REAL_NAME=${real})
    if(ARGN MATCHES "-mfma") # by a property: flags of the target itself come ahead of those of hone_flags, which would win
      set_target_properties(${target} PROPERTIES HONE_FMA ON)
    endif()
    # clang warns where it does not vectorize a loop that says `omp simd`; gcc, which builds what is shipped, does.
    target_compile_options(${target} PRIVATE ${ARGN} -O3 -fopenmp-simd $<$<C_COMPILER_ID:Clang>:-Wno-pass-failed>)
    list(APPEND HONE_OBJECTS $<TARGET_OBJECTS:${target}>)
    list(APPEND HONE_OBJECT_TARGETS ${target})
  endforeach()
  set(HONE_OBJECTS ${HONE_OBJECTS} PARENT_SCOPE)
  set(HONE_OBJECT_TARGETS ${HONE_OBJECT_TARGETS} PARENT_SCOPE)
endfunction()
hone_add_kernels(ref)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_definitions(hone_objects PRIVATE HONE_X86=1)
  hone_add_kernels(avx2 -mavx2 -mfma -mf16c)
  hone_add_kernels(avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c
                   -mprefer-vector-width=512)
  # Hand-written kernels, one instruction set a file: <anything>_<isa>.c
  file(GLOB HONE_X86_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/kernel/x86/*.c)
  if(HONE_X86_SOURCES)
    add_library(hone_x86 OBJECT ${HONE_X86_SOURCES})
    foreach(source ${HONE_X86_SOURCES})
      if(source MATCHES "_avx2\\.c$")
        set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-O3;-mavx2;-mfma;-mf16c")
      elseif(source MATCHES "_avx512\\.c$")
        set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
          "-O3;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mfma;-mf16c")
      elseif(source MATCHES "_avx512bf16\\.c$")
        set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
          "-O3;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mavx512bf16;-mfma;-mf16c")
      elseif(source MATCHES "_amx\\.c$")
        set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
          "-O3;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mavx512bf16;-mamx-tile;-mamx-bf16;-mamx-int8;-mfma;-mf16c")
      endif()
    endforeach()
    set(HONE_OBJECTS ${HONE_OBJECTS} $<TARGET_OBJECTS:hone_x86>)
    list(APPEND HONE_OBJECT_TARGETS hone_x86)
  endif()
endif()

if(HONE_ONEDNN)
  # Debian has no CMake package for 2.6; a 3.x installed anywhere is found with -DDNNL_ROOT or CMAKE_PREFIX_PATH. PyPI's
  # onednn-devel-cpu-gomp and onednn-cpu-gomp put theirs (include/, lib/) into the virtual environment's own folder. It has
  # to be one for GNU's OpenMP (gomp), the runtime that Hone uses: two runtimes in a process fight over the CPUs.
  find_path(DNNL_INCLUDE oneapi/dnnl/dnnl.h HINTS ${DNNL_ROOT} PATH_SUFFIXES include)
  find_library(DNNL_LIBRARY dnnl HINTS ${DNNL_ROOT} PATH_SUFFIXES lib)
endif()
if(HONE_ONEDNN AND DNNL_INCLUDE AND DNNL_LIBRARY)
  message(STATUS "oneDNN: ${DNNL_LIBRARY}")
  file(GLOB HONE_DNNL_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/kernel/onednn/*.c)
  add_library(hone_onednn OBJECT ${HONE_DNNL_SOURCES})
  target_include_directories(hone_onednn SYSTEM PRIVATE ${DNNL_INCLUDE})
  target_compile_definitions(hone_objects PRIVATE HONE_HAVE_ONEDNN=1)
  set(HONE_OBJECTS ${HONE_OBJECTS} $<TARGET_OBJECTS:hone_onednn>)
  list(APPEND HONE_OBJECT_TARGETS hone_onednn)
  set(HONE_PRIVATE_LIBRARIES ${DNNL_LIBRARY})
else()
  message(STATUS "oneDNN: not found or not wanted; the reference kernels do the matrix products")
endif()
list(APPEND HONE_PRIVATE_LIBRARIES PkgConfig::PCRE2 PkgConfig::JANSSON Threads::Threads m ${CMAKE_DL_LIBS})

# PLplot draws the loss curves, others read pictures, sound and archives; all are loaded when first used, so only their
# headers are needed here.
find_path(PLPLOT_INCLUDE plplot.h PATH_SUFFIXES plplot)
find_path(ZLIB_INCLUDE zlib.h)
find_path(ZIP_INCLUDE zip.h)
find_path(PNG_INCLUDE png.h)
find_path(JPEG_INCLUDE turbojpeg.h)
find_path(SNDFILE_INCLUDE sndfile.h)
foreach(target ${HONE_OBJECT_TARGETS})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} PRIVATE hone_flags PkgConfig::PCRE2 PkgConfig::JANSSON)
  if(OpenMP_C_FOUND)
    target_link_libraries(${target} PRIVATE OpenMP::OpenMP_C)
  endif()
  foreach(library PLPLOT ZLIB ZIP PNG JPEG SNDFILE)
    if(${library}_INCLUDE)
      target_include_directories(${target} SYSTEM PRIVATE ${${library}_INCLUDE})
      target_compile_definitions(${target} PRIVATE HONE_HAVE_${library}=1)
    endif()
  endforeach()
endforeach()
if(OpenMP_C_FOUND)
  list(APPEND HONE_PRIVATE_LIBRARIES OpenMP::OpenMP_C)
endif()

# The shared library exports hone_* alone. The static one is for the program and the tests, which look inside.
add_library(hone SHARED ${HONE_OBJECTS})
set_target_properties(hone PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
                      LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/hone.map)
target_link_options(hone PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/hone.map)
add_library(hone_static STATIC ${HONE_OBJECTS})
foreach(target hone hone_static)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                             $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
target_link_libraries(hone PRIVATE $<BUILD_INTERFACE:hone_flags> ${HONE_PRIVATE_LIBRARIES})
target_link_libraries(hone_static PUBLIC hone_flags ${HONE_PRIVATE_LIBRARIES})
