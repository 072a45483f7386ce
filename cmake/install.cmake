# cmake --install: the headers, the shared library, the program, and what pkg-config and find_package(hone) read. The
# package may be moved as a whole; nothing in it names the build. The static library is for the tests and the program,
# which look inside, and stays in the build.
include(CMakePackageConfigHelpers)
set(HONE_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/hone)

install(TARGETS hone EXPORT hone-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/hone DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(TARGET hone_program)
  install(TARGETS hone_program DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(EXPORT hone-targets NAMESPACE hone:: DESTINATION ${HONE_CMAKE_DIR})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/hone-config.cmake.in ${PROJECT_BINARY_DIR}/hone-config.cmake
  INSTALL_DESTINATION ${HONE_CMAKE_DIR})
# Before 1.0 a new minor version may change the API.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/hone-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/hone-config.cmake ${PROJECT_BINARY_DIR}/hone-config-version.cmake
        DESTINATION ${HONE_CMAKE_DIR})

# hone.pc finds its prefix from where it lies itself.
file(RELATIVE_PATH HONE_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${PROJECT_SOURCE_DIR}/cmake/hone.pc.in ${PROJECT_BINARY_DIR}/hone.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/hone.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
