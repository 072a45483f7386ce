# The program: public headers only.
file(GLOB HONE_CLI_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cli/*.c)
if(HONE_CLI_SOURCES)
  pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
  add_executable(hone_program ${HONE_CLI_SOURCES})
  set_target_properties(hone_program PROPERTIES OUTPUT_NAME hone)
  target_link_libraries(hone_program PRIVATE hone_static PkgConfig::YAML)
endif()
