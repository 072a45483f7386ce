# Toolchain file: Linux on 64-bit ARM, built on another machine with Debian's gcc-aarch64-linux-gnu, run by qemu-user.
# HONE_SYSROOT holds the libraries beyond the C library; scripts/test-aarch64 fills it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES HONE_SYSROOT)

set(ENV{PKG_CONFIG_LIBDIR} ${HONE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${HONE_SYSROOT})
set(CMAKE_FIND_ROOT_PATH ${HONE_SYSROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu
    -E LD_LIBRARY_PATH=${HONE_SYSROOT}/usr/lib/aarch64-linux-gnu)
